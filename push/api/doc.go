// Package api answers questions about what is stored, over HTTP: devices,
// series, readings and their count, and series summed up over time. It takes
// writes, also in the manner of InfluxDB's clients, and imports, gives the files
// of the store to backups, and tells what the store takes.
//
// Answers with readings are streamed from the store in the order of their
// offsets and take constant memory; summed-up series are streamed one by one.
// Errors are {"error":"…"} with the fitting
// status; an error in the middle of a stream breaks the connection, so that no
// client takes a part for the whole. Who may ask is decided before a request
// comes here; see package auth.
package api
