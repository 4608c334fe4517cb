// Package dashboard serves the web page on which people watch readings arrive.
//
// The page is written in TypeScript in src/ and built by npm into dist/, which
// the package embeds. A program that was compiled without that build serves the
// page in small/ instead: one table, no framework, and a sentence that says how
// to get the full page. Either way the page speaks to the server only through
// the public API, with URLs relative to the page, so that it works below any
// path of a reverse proxy.
//
// The same build makes naru.js, the page's way to the live readings as a module for
// other pages and programs, with its types beside it.
//
// The package decides which files a browser gets and with which headers. It
// knows no reading and asks nobody for permission: whoever mounts the handler
// has done that before.
package dashboard
