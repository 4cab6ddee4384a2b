package tokencache

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOneFetchForManyCallers(t *testing.T) {
	bubble(t, kinds, func(t *testing.T, kind Kind) {
		p := &platform{delay: 30 * time.Millisecond}
		c := newCache(t, p, withKind(kind))
		start := time.Now()
		for _, err := range runConcurrently(1000, func(int) error {
			got, err := c.Get(t.Context())
			assert.Equal(t, "T1", name(got))
			return err
		}) {
			require.NoError(t, err)
		}
		assert.Equal(t, 30*time.Millisecond, time.Since(start))
		assert.Equal(t, []request{{kind, start}}, p.requests())
	})
}

func TestStaleTokenIsRefreshedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{delay: 2 * time.Second}
		c := newCache(t, p)
		first := c.get(t)
		time.Sleep(time.Until(first.ExpiresAt.Add(-4 * time.Minute)))
		start := time.Now()
		assert.Equal(t, first, c.get(t))
		assert.Zero(t, time.Since(start))
		time.Sleep(2*time.Second + 1)
		assert.Equal(t, "T2", name(c.get(t)))
		assert.Len(t, p.requests(), 2)
	})
}

func TestRefreshReplacesTheRejectedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		c := newCache(t, p)
		first := c.get(t)
		fetched, err := c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		assert.True(t, fetched)
		assert.Equal(t, "T2", name(c.get(t)))
		fetched, err = c.Refresh(t.Context(), first.AccessToken)
		require.NoError(t, err)
		assert.False(t, fetched, "another one is there")
		assert.Len(t, p.requests(), 2)
	})
}
