package redisstore_test

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	redis.SetLogger(noopLogger{})
	if os.Getenv(workerEnv) != "" {
		os.Exit(runWorker())
	}
	setParallel("6")
	goleak.VerifyTestMain(m)
}

// setParallel sets the flag -parallel unless it was given: many tests wait more than they compute.
func setParallel(n string) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", n)
	}
}

// noopLogger silences go-redis, which logs the servers that a test has stopped.
type noopLogger struct{}

func (noopLogger) Printf(context.Context, string, ...any) {}
