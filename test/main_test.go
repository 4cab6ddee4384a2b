package test

import (
	"testing"

	"go.uber.org/goleak"
)

// moduleRoot is the folder of the module, as seen from this one.
const moduleRoot = ".."

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
