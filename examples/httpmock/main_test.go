package welcome_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No client and no server of these tests leaves a goroutine.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
