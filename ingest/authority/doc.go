// Package authority is the gateway's own certificate authority: it signs the
// certificate by which devices know the gateway, and those by which the gateway
// knows devices. Its key stays in one file.
package authority
