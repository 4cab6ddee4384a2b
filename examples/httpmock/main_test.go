package welcome_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that clients and servers leave no goroutines running.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
