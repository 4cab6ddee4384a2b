package wechatuser_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// mixingPlatform has profiles and mixes them up as the platform does. If a batch has openids that it does not know, it
// puts the profiles that it found beside the openids that were asked for, one after the other: each profile from the
// first unknown openid on is that of a later one, and the last openids are left with nothing.
type mixingPlatform struct {
	users       map[string]person
	last        lastShape
	whole       bool    // whole profiles are shifted, not UnionIDs alone
	shuffled    float64 // probability that the profiles of a response are in another order
	oneIsForbad bool    // an unknown openid alone fails with 40003

	mu      sync.Mutex
	rng     *rand.Rand
	calls   int
	foreign int // UnionIDs that were sent with the openid of somebody else
}

type person struct {
	follows bool
	unionID string
}

// lastShape is what the openids get that are left with nothing.
type lastShape int

const (
	lastNoUnionID lastShape = iota
	lastNotFollowing
	lastAbsent
)

// profile is the profile of a user, with a remark that tells whose it is.
func (p *mixingPlatform) profile(openID string) map[string]any {
	user := p.users[openID]
	if !user.follows {
		return map[string]any{"subscribe": 0, "openid": openID, "tagid_list": []int{}}
	}
	profile := map[string]any{
		"subscribe": 1, "openid": openID, "subscribe_time": 1700000000 + len(openID), "remark": openID,
	}
	if user.unionID != "" {
		profile["unionid"] = user.unionID
	}
	return profile
}

func (p *mixingPlatform) RoundTrip(req *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch req.URL.Path {
	case testutil.PathUserInfo:
		p.calls++
		openID := req.URL.Query().Get("openid")
		if _, known := p.users[openID]; !known {
			return testutil.RespondCode(40003)(req)
		}
		return respondWith(req, p.profile(openID))
	case testutil.PathBatchUserInfo:
		p.calls++
		var body struct {
			List []struct {
				OpenID string `json:"openid"`
			} `json:"user_list"`
		}
		if err := json.Unmarshal([]byte(testutil.PeekBody(req)), &body); err != nil {
			return nil, err
		}
		var asked []string
		for _, q := range body.List {
			asked = append(asked, q.OpenID)
		}
		if _, known := p.users[asked[0]]; p.oneIsForbad && len(asked) == 1 && !known {
			return testutil.RespondCode(40003)(req)
		}
		return respondWith(req, map[string]any{"user_info_list": p.batch(asked)})
	default:
		return testutil.RespondJSON(testutil.TokenBody)(req)
	}
}

func respondWith(req *http.Request, v any) (*http.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return testutil.RespondJSON(string(body))(req)
}

func (p *mixingPlatform) batch(asked []string) []map[string]any {
	var found []string
	for _, id := range asked {
		if _, known := p.users[id]; known {
			found = append(found, id)
		}
	}
	list := []map[string]any{}
	for i, id := range asked {
		profile := p.profile(id)
		switch own := id; {
		case i < len(found):
			if p.whole {
				profile = p.profile(found[i])
				profile["openid"] = id
				break
			}
			delete(profile, "unionid")
			if own = p.users[found[i]].unionID; own != "" {
				profile["unionid"] = own
			}
		case p.last == lastAbsent:
			continue
		case p.last == lastNotFollowing:
			profile = map[string]any{"subscribe": 0, "openid": id}
		default:
			if _, known := p.users[id]; !known { // somebody whose own profile nobody has seen
				profile["subscribe"], profile["subscribe_time"] = 1, 1700000000
			}
			delete(profile, "unionid")
		}
		if unionID, ok := profile["unionid"]; ok && unionID != p.users[id].unionID {
			p.foreign++
		}
		list = append(list, profile)
	}
	if p.rng.Float64() < p.shuffled {
		p.rng.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	}
	return list
}

// newMixingPlatform returns a platform with users, of whom some have left and some followers have no UnionID, and the
// openids of all of them, with unknown ones at random places.
func newMixingPlatform(rng *rand.Rand, known, unknown int, left, noUnionID float64) (*mixingPlatform, []string) {
	p := &mixingPlatform{users: map[string]person{}, rng: rng}
	openIDs := testutil.OpenIDs(known)
	for i, id := range openIDs {
		user := person{follows: rng.Float64() >= left}
		if user.follows && rng.Float64() >= noUnionID {
			user.unionID = fmt.Sprint("union-", i)
		}
		p.users[id] = user
	}
	for i := range unknown {
		openIDs = slices.Insert(openIDs, rng.IntN(len(openIDs)+1), wechatusertest.ForeignOpenID(i))
	}
	return p, openIDs
}

// Whatever the platform mixes up, no UnionID comes with the openid of somebody else, everybody whom the platform knows
// is returned, and an unknown openid is named, or looks like somebody who has left.
func TestNoForeignUnionID(t *testing.T) {
	seeds, foreign, lost := 200, 0, 0
	if testutil.Full() {
		seeds = 10_000
	}
	pick := func(rng *rand.Rand, of ...float64) float64 { return of[rng.IntN(len(of))] }
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(uint64(seed), 17))
		p, openIDs := newMixingPlatform(rng, 1+rng.IntN(230), rng.IntN(5), pick(rng, 0, 0, 0.1, 0.6),
			pick(rng, 0, 0, 0.05, 0.5))
		p.last, p.whole, p.oneIsForbad = lastShape(rng.IntN(3)), rng.IntN(2) == 0, rng.IntN(2) == 0
		p.shuffled = pick(rng, 0, 0, 0, 0.3)
		setting := fmt.Sprintf("seed %d: last %d, whole %v, shuffled %v", seed, p.last, p.whole, p.shuffled)
		c := testutil.NewClient(t, p)
		i := 0
		for user, err := range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(openIDs...),
			wechatuser.WithConcurrency(1)) {
			want, known := p.users[openIDs[i]]
			switch {
			case known:
				require.NoError(t, err, setting)
				require.Equal(t, openIDs[i], user.OpenID, setting)
				if want.unionID == "" && p.last == lastNoUnionID && p.whole {
					require.Empty(t, user.UnionID, setting)
					break // where nobody has a UnionID, the last profile of a mixed-up response lacks nothing
				}
				if want.follows && user.Subscribe == 0 { // in a response in which everybody seems to have left
					require.Empty(t, user.UnionID+user.Remark, setting)
					require.Equal(t, lastNotFollowing, p.last, setting)
					lost++
					break
				}
				require.Equal(t, want.unionID, user.UnionID, setting)
				require.Equal(t, want.follows, user.Subscribed(), setting)
				if want.follows {
					require.Equal(t, openIDs[i], user.Remark, setting)
				}
			case err != nil:
				var one *wechatuser.OpenIDError
				require.ErrorAs(t, err, &one, setting)
				require.Equal(t, openIDs[i], one.OpenID, setting)
			default:
				require.Empty(t, user.UnionID, setting)
				if p.last != lastNoUnionID {
					require.Empty(t, user.Remark, setting)
				}
			}
			i++
		}
		require.Equal(t, len(openIDs), i, setting)
		foreign += p.foreign

		// One call either returns what is right, or an error.
		p.foreign = 0
		part := openIDs[:min(len(openIDs), 100)]
		queries := make([]wechatuser.UserQuery, len(part))
		for i, id := range part {
			queries[i].OpenID = id
		}
		users, err := c.BatchUserInfo(t.Context(), queries)
		if err != nil {
			if !errors.Is(err, wechatuser.CodeInvalidOpenID) {
				require.ErrorIs(t, err, wechatuser.ErrUnproven, setting)
				require.ErrorContains(t, err, "BulkUserInfo", setting)
				require.NotErrorIs(t, err, wechatuser.ErrTemporary, setting)
			}
			require.Nil(t, users, setting)
			continue
		}
		for _, user := range users {
			require.Equal(t, p.users[user.OpenID].unionID, user.UnionID, setting)
		}
		require.Zero(t, p.foreign, setting)
	}
	t.Logf("%d foreign UnionIDs were sent; %d followers look as if they had left", foreign, lost)
	assert.LessOrEqual(t, lost, seeds/100)
	assert.Greater(t, foreign, 10*seeds, "the platform did mix them up")
}

// What it costs to prove profiles, in calls for each 100 openids; docs/decisions/0017 has the figures.
func TestCostOfProof(t *testing.T) {
	batches := 30
	if testutil.Full() {
		batches = 500
	}
	for _, row := range []struct {
		name            string
		unknown         int
		left, noUnionID float64
		atMost          float64
	}{
		{"everybody follows", 0, 0, 0, 1},
		{"nobody has a UnionID", 0, 0, 1, 1},
		{"1 of 100 has left", 0, 0.01, 0, 1.05},
		{"10 of 100 have left", 0, 0.1, 0, 1.25},
		{"50 of 100 have left", 0, 0.5, 0, 1.65},
		{"everybody has left", 0, 1, 0, 1},
		{"1 of 100 has no UnionID", 0, 0, 0.01, 1.8},
		{"10 of 100 have no UnionID", 0, 0, 0.1, 2},
		{"1 unknown", 1, 0, 0, 16},
		{"1 unknown, 10 have left", 1, 0.1, 0, 22},
		{"2 unknown", 2, 0, 0, 30},
		{"5 unknown", 5, 0, 0, 66},
	} {
		t.Run(row.name, func(t *testing.T) {
			calls, most := 0, 0
			for batch := range batches {
				rng := rand.New(rand.NewPCG(uint64(batch), 1))
				p, openIDs := newMixingPlatform(rng, 100-row.unknown, row.unknown, row.left, row.noUnionID)
				p.last, p.whole = lastShape(batch%3), batch%2 == 0
				n := 0
				for range testutil.NewClient(t, p).BulkUserInfo(t.Context(), wechatuser.OpenIDs(openIDs...)) {
					n++
				}
				require.Equal(t, 100, n)
				calls, most = calls+p.calls, max(most, p.calls)
			}
			mean := float64(calls) / float64(batches)
			t.Logf("%-28s %5.2f calls, at most %d", row.name, mean, most)
			assert.LessOrEqual(t, mean, row.atMost)
		})
	}
}

// A report of 2024-09: 300 openids, of which the 11th is well-formed and nobody's. The response has all openids that
// were asked for, and each UnionID from the 11th on is that of the next one; or whole profiles are shifted.
func TestBatchesMixedUpByOneUnknownOpenID(t *testing.T) {
	for i := range 6 {
		last, whole := lastShape(i%3), i >= 3
		p, openIDs := newMixingPlatform(rand.New(rand.NewPCG(1, 1)), 299, 0, 0, 0)
		nobody := wechatusertest.ForeignOpenID(7)
		openIDs = slices.Insert(openIDs, 10, nobody)
		p.last, p.whole = last, whole
		c := testutil.NewClient(t, p)
		i := 0
		for user, err := range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(openIDs...)) {
			if i == 10 {
				var one *wechatuser.OpenIDError
				require.ErrorAs(t, err, &one)
				assert.Equal(t, nobody, one.OpenID)
			} else {
				require.NoError(t, err)
				assert.Equal(t, p.users[openIDs[i]].unionID, user.UnionID)
				assert.Equal(t, openIDs[i], user.Remark)
			}
			i++
		}
		assert.Equal(t, 300, i)
		assert.LessOrEqual(t, p.calls, 3+15)
		assert.GreaterOrEqual(t, p.foreign, 89, "the platform sent them")

		queries := make([]wechatuser.UserQuery, 100)
		for i, id := range openIDs[:100] {
			queries[i].OpenID = id
		}
		users, err := c.BatchUserInfo(t.Context(), queries)
		require.ErrorIs(t, err, wechatuser.ErrUnproven)
		require.ErrorContains(t, err, "BulkUserInfo")
		assert.Nil(t, users)
	}
}

// What the end of a batch may look like, and is right.
func TestProfilesThatAreRight(t *testing.T) {
	const follower = `{"subscribe":1,"openid":"%s","subscribe_time":1700000000,"unionid":"u%[1]s"}`
	without := func(id string) string {
		return fmt.Sprintf(`{"subscribe":1,"openid":"%s","subscribe_time":1700000000}`, id)
	}
	with := func(id string) string { return fmt.Sprintf(follower, id) }
	left := func(id string) string { return fmt.Sprintf(`{"subscribe":0,"openid":"%s"}`, id) }
	answer := func(profiles ...string) string { return `{"user_info_list":[` + strings.Join(profiles, ",") + `]}` }
	a, b := testutil.Alice, testutil.Bob
	for name, tc := range map[string]struct {
		body  string
		right bool
	}{
		"both with a UnionID":         {answer(with(a), with(b)), true},
		"nobody has a UnionID":        {answer(without(a), without(b)), true},
		"both have left":              {answer(left(a), left(b)), true},
		"the first has left":          {answer(left(a), with(b)), true},
		"another order":               {answer(with(b), with(a)), true},
		"the last has left":           {answer(with(a), left(b)), false},
		"the last has no UnionID":     {answer(with(a), without(b)), false},
		"the first has no UnionID":    {answer(without(a), with(b)), false},
		"left, in another order":      {answer(left(b), with(a)), false},
		"the same UnionID":            {answer(with(a), strings.Replace(with(b), "u"+b, "u"+a, 1)), false},
		"a UnionID without following": {answer(strings.Replace(left(a), "}", `,"unionid":"u"}`, 1), with(b)), false},
		"a follower without a time": {
			answer(with(a), fmt.Sprintf(`{"subscribe":1,"openid":"%s","unionid":"u%[1]s"}`, b)), false,
		},
		"one absent":                    {answer(with(a)), false},
		"one twice":                     {answer(with(a), with(b), with(b)), false},
		"one twice, another absent":     {answer(with(a), with(a)), false},
		"a stranger's":                  {answer(with(a), with("oSTRANGER")), false},
		"a stranger's beside them":      {answer(with(a), with(b), with("oSTRANGER")), false},
		"an empty object":               {answer(`{}`, with(b)), false},
		"does not say whether he left":  {answer(`{"openid":"`+a+`"}`, with(b)), false},
		"says so in another field only": {answer(`{"openid":"`+a+`","remark":"subscribe"}`, with(b)), false},
		"no profile":                    {answer(), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := testutil.Play(testutil.RespondJSON(tc.body))
			users, err := testutil.NewClient(t, s).BatchUserInfo(t.Context(),
				[]wechatuser.UserQuery{{OpenID: a}, {OpenID: b}})
			assert.Equal(t, 1, s.Count(), "it would be the same again")
			if tc.right {
				require.NoError(t, err)
				assert.Len(t, users, 2)
				return
			}
			var re *wechatuser.ResponseError
			require.ErrorAs(t, err, &re)
			assert.Nil(t, users)
			if name != "null" { // which is no profile
				require.ErrorIs(t, err, wechatuser.ErrUnproven)
				assert.Empty(t, re.Snippet, "whose profiles they are is not known")
			}
		})
	}
}

// Openids that are asked for twice may be answered once or twice.
func TestBatchWithAnOpenIDTwice(t *testing.T) {
	query := []wechatuser.UserQuery{{OpenID: testutil.Alice}, {OpenID: testutil.Alice}}
	for n, right := range []bool{false, true, true, false} {
		body := `{"user_info_list":[` + strings.Join(slices.Repeat([]string{testutil.AliceBody}, n), ",") + `]}`
		users, err := testutil.NewClient(t, testutil.Play(testutil.RespondJSON(body))).BatchUserInfo(t.Context(), query)
		assert.Equal(t, right, err == nil, "%d profiles", n)
		if right {
			assert.Len(t, users, n)
		}
	}
}

// A job that gets profiles twice, strangers' or empty ones names whom they are missing for.
func TestBulkUserInfoWithForeignProfiles(t *testing.T) {
	good := func(id string) map[string]any {
		return map[string]any{"subscribe": 1, "openid": id, "subscribe_time": 1, "unionid": "u" + id}
	}
	for name, bad := range map[string]func(id string) []any{
		"twice":              func(id string) []any { return []any{good(id), good(id)} },
		"a stranger's":       func(string) []any { return []any{good("oSTRANGER")} },
		"a stranger's too":   func(id string) []any { return []any{good(id), good("oSTRANGER")} },
		"null":               func(string) []any { return []any{nil} },
		"an empty object":    func(string) []any { return []any{map[string]any{}} },
		"without subscribe":  func(id string) []any { return []any{map[string]any{"openid": id}} },
		"no profile":         func(string) []any { return nil },
		"somebody else, too": func(id string) []any { return []any{good(testutil.Alice), good(id)} },
	} {
		openIDs := testutil.OpenIDs(150)
		c := testutil.NewClient(t, testutil.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == testutil.PathUserInfo {
				if id := req.URL.Query().Get("openid"); id != openIDs[42] {
					return respondWith(req, good(id))
				}
				return testutil.RespondCode(40003)(req)
			}
			list := []any{}
			for _, id := range openIDs {
				switch {
				case !strings.Contains(testutil.PeekBody(req), id):
				case id == openIDs[42]:
					list = append(list, bad(id)...)
				default:
					list = append(list, good(id))
				}
			}
			return respondWith(req, map[string]any{"user_info_list": list})
		}))
		i := 0
		for user, err := range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(openIDs...)) {
			if i == 42 {
				var one *wechatuser.OpenIDError
				require.ErrorAs(t, err, &one, name)
				assert.Equal(t, openIDs[42], one.OpenID, name)
			} else {
				require.NoError(t, err, name)
				assert.Equal(t, "u"+openIDs[i], user.UnionID, name)
			}
			i++
		}
		assert.Equal(t, 150, i, name)
	}
}

func TestBatchUserInfoWithNullForAProfile(t *testing.T) {
	s := testutil.Play(
		testutil.RespondJSON(`{"user_info_list":[null,{"subscribe":1,"openid":"` + testutil.Alice + `"}]}`))
	users, err := testutil.NewClient(t, s).BatchUserInfo(t.Context(),
		[]wechatuser.UserQuery{{OpenID: testutil.Bob}, {OpenID: testutil.Alice}})
	var re *wechatuser.ResponseError
	require.ErrorAs(t, err, &re)
	assert.ErrorContains(t, err, "user_info_list[0]: null where an object is expected")
	assert.Nil(t, users)
	assert.Equal(t, 1, s.Count(), "it would be the same again")
}
