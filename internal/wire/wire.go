// Package wire is the platform's wire format, without HTTP: it writes request bodies as the platform wants them, reads
// the JSON that the platform really sends, which is not always valid, takes its error messages apart, and masks
// secrets in what it sent. Nothing here knows an endpoint.
package wire
