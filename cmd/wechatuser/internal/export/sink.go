package export

import "os"

// sink is a file of rows. Its rows are the only record of the progress of an export.
type sink interface {
	// resume calls add for each complete row in the file, in order, and truncates what follows the last of them.
	resume(add func(openID string, rejected bool)) error
	// write appends rows. If the process is killed, the file has any number of them, the last one possibly incomplete.
	write(rows []row) error
	// close syncs the rows to disk and closes the file.
	close() error
}

func openSink(cfg Config, path string) (sink, error) {
	if cfg.Format == "sqlite" {
		return openSQLite(path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if cfg.Format == "jsonl" {
		return &textFile{file: f, format: jsonLines{}}, nil
	}
	return &textFile{file: f, format: csvTable{excel: cfg.Excel}}, nil
}
