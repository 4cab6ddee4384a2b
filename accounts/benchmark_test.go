package accounts

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// immediate returns settings without a database.
func immediate(_ context.Context, key string) (Account, error) {
	return Account{AppID: key, Secret: "0123456789abcdef0123456789abcdef"}, nil
}

func manyKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("wx%016x", i)
	}
	return keys
}

func filled(b *testing.B, keys []string) *Registry {
	b.Helper()
	r, err := New(immediate, WithCapacity(len(keys)))
	require.NoError(b, err)
	for _, key := range keys {
		_, err := r.Client(b.Context(), key)
		require.NoError(b, err)
	}
	return r
}

// BenchmarkClient asks for the clients of 10,000 accounts: which are there, from all cores, and which are not.
func BenchmarkClient(b *testing.B) {
	keys := manyKeys(10_000)
	b.Run("hit", func(b *testing.B) {
		r := filled(b, keys)
		var starts atomic.Int64
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for i := int(starts.Add(1)) * 4001; pb.Next(); i++ {
				if _, err := r.Client(context.Background(), keys[i%len(keys)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	b.Run("cold", func(b *testing.B) {
		r := filled(b, keys)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			key := keys[i%len(keys)]
			r.Forget(key)
			if _, err := r.Client(context.Background(), key); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMemory reports the size of an account in memory, with 100,000 of them.
func BenchmarkMemory(b *testing.B) {
	keys := manyKeys(100_000)
	for b.Loop() {
		before := heap()
		r := filled(b, keys)
		b.ReportMetric(float64(heap()-before)/float64(len(keys)), "B/account")
		runtime.KeepAlive(r)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
