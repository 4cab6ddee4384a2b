package mirror_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/wechatuser/wechatuser/mirror"
	"github.com/wechatuser/wechatuser/mirror/mirrortest"
)

// brokenStores are stores that have one mistake each, and the check that finds it.
var brokenStores = map[string]struct {
	store   func() mirror.Store
	foundBy string
}{
	"the last write wins":   {func() mirror.Store { return lastWriteWins{new(mirror.MemoryStore)} }, "newer_wins"},
	"openids ignore case":   {func() mirror.Store { return lowerCase{new(mirror.MemoryStore)} }, "case"},
	"rows are just deleted": {func() mirror.Store { return noDepartures{new(mirror.MemoryStore)} }, "newer_wins"},
	"places are kept":       {func() mirror.Store { return newOwnWalks(false) }, "walks"},
	"places come back":      {func() mirror.Store { return newOwnWalks(true) }, "walks"},
	"walks are overwritten": {func() mirror.Store { return anyWalk{new(mirror.MemoryStore)} }, "walks"},
}

type lowerCase struct{ *mirror.MemoryStore }

func (s lowerCase) Put(ctx context.Context, statements []mirror.Statement) error {
	list := make([]mirror.Statement, len(statements))
	for i, st := range statements {
		st.OpenID = strings.ToLower(st.OpenID)
		list[i] = st
	}
	return s.MemoryStore.Put(ctx, list)
}

type noDepartures struct{ *mirror.MemoryStore }

func (s noDepartures) Put(ctx context.Context, statements []mirror.Statement) error {
	if err := s.MemoryStore.Put(ctx, statements); err != nil {
		return err
	}
	return s.Purge(ctx, 1<<62, time.Now().Add(1<<62))
}

// ownWalks has walks of its own, and saves the places of users who have left.
type ownWalks struct {
	*mirror.MemoryStore
	walks   map[string]mirror.Walk
	forgets bool // the place of a user who leaves
}

func newOwnWalks(forgets bool) ownWalks {
	return ownWalks{new(mirror.MemoryStore), map[string]mirror.Walk{}, forgets}
}

func (s ownWalks) Put(ctx context.Context, statements []mirror.Statement) error {
	for _, st := range statements {
		for kind, w := range s.walks {
			if s.forgets && !st.Follows() && w.Place == st.OpenID {
				w.Place, w.Listed = "", 0
				s.walks[kind] = w
			}
		}
	}
	return s.MemoryStore.Put(ctx, statements)
}

func (s ownWalks) LoadWalk(_ context.Context, kind string) (mirror.Walk, error) {
	return s.walks[kind], nil
}

func (s ownWalks) SaveWalk(_ context.Context, kind string, ticket int64, w mirror.Walk) error {
	if s.walks[kind].Ticket == ticket {
		s.walks[kind] = w
	}
	return nil
}

type anyWalk struct{ *mirror.MemoryStore }

func (s anyWalk) SaveWalk(ctx context.Context, kind string, _ int64, w mirror.Walk) error {
	old, err := s.LoadWalk(ctx, kind)
	if err != nil {
		return err
	}
	return s.MemoryStore.SaveWalk(ctx, kind, old.Ticket, w)
}

const brokenEnv = "WECHATUSER_MIRROR_BROKEN_STORE"

// The checks of mirrortest find each mistake. They run in a process of their own, since there they fail.
func TestChecksFindMistakes(t *testing.T) {
	if name := os.Getenv(brokenEnv); name != "" {
		mirrortest.Run(t, mirrortest.Config{New: func(*testing.T) mirror.Store { return brokenStores[name].store() }})
		return
	}
	t.Parallel()
	for name, broken := range brokenStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChecksFindMistakes$")
			cmd.Env = append(os.Environ(), brokenEnv+"="+name)
			out, err := cmd.CombinedOutput()
			assert.Error(t, err)
			assert.Contains(t, string(out), "--- FAIL: TestChecksFindMistakes/"+broken.foundBy)
		})
	}
}
