package newcomers_test

import (
	"testing"

	"go.uber.org/goleak"
)

// A client leaves no goroutines running, so a leak that goleak finds is in the service.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
