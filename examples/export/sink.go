package main

import "os"

// sink is a file of rows. The rows that are in it are all there is to know about how far an export has come.
type sink interface {
	// resume tells of each whole row in the file, in order, and takes away what is torn behind the last of them.
	resume(found func(openID string, refused bool)) error
	// write adds rows. When it is killed, any number of them may be there, but for a torn one in a row.
	write(rows []row) error
	// close returns when all rows are on the disk.
	close() error
}

func openSink(cfg config, path string) (sink, error) {
	if cfg.format == "sqlite" {
		return openSQLite(path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if cfg.format == "jsonl" {
		return &textFile{file: f, format: jsonLines{}}, nil
	}
	return &textFile{file: f, format: csvTable{excel: cfg.excel}}, nil
}
