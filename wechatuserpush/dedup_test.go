package wechatuserpush

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestWindowForgetsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(time.Minute, 100)
		for i := range 1000 {
			w.add(fmt.Sprint(i))
			w.add(fmt.Sprint(i))
			assert.Equal(t, min(i+1, 100), len(w.until))
			assert.Equal(t, len(w.until), len(w.order))
		}
		assert.True(t, w.has("900"))
		assert.False(t, w.has("899"))
		assert.LessOrEqual(t, cap(w.order), 300, "it does not grow")

		time.Sleep(59 * time.Second)
		w.add("late")
		time.Sleep(time.Second)
		assert.False(t, w.has("999"))
		assert.True(t, w.has("late"))
		assert.Len(t, w.until, 1)
	})
}
