// Package wire is the platform's wire format, without HTTP: it writes request bodies as the platform wants them, reads
// the JSON that the platform really sends, which is not always valid, and parses its error messages. It knows no
// endpoint.
package wire
