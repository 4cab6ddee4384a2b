package newcomers_test

import (
	"testing"

	"go.uber.org/goleak"
)

// A client leaves no goroutine behind, so that what goleak finds is the service's own.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
