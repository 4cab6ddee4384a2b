// Package wire implements the platform's wire format, without HTTP: it writes request bodies as the platform requires
// them, reads the JSON that the platform actually sends, which is not always valid, and parses its error messages. It
// knows no endpoint.
package wire
