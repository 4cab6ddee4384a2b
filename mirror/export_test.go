package mirror

import "time"

// Of the package, for its tests.
var (
	SetBatch = func(m *Mirror, n int) { m.batch = n }
	SetClock = func(m *Mirror, now func() time.Time) { m.now = now }

	AddMigration = func(s *SQLStore, statements ...string) { s.migrations = append(s.migrations, statements) }
)
