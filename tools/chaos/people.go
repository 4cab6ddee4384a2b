package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// kind is what is behind an openid.
type kind int

const (
	fan kind = iota
	gone
	foreign
	malformed
)

// people are the openids of the run.
type people struct {
	fans  []string // in the order of the list of followers
	kinds map[string]kind
	bad   []string // all others
}

const (
	fewestFans = 100
	others     = 40 // of each other kind
)

func newPeople(n int) *people {
	p := &people{kinds: make(map[string]kind)}
	for i := range n {
		p.fans = append(p.fans, wechatusertest.OpenID(i))
	}
	p.bad = []string{"", "oFAKE with a space"}
	for i := range others {
		p.kinds[wechatusertest.OpenID(n+i)] = gone
		p.kinds[wechatusertest.ForeignOpenID(i)] = foreign
		p.bad = append(p.bad, wechatusertest.OpenID(n+i), wechatusertest.ForeignOpenID(i))
	}
	p.kinds[p.bad[0]], p.kinds[p.bad[1]] = malformed, malformed
	return p
}

// settle makes them the account's.
func (p *people) settle(account *wechatusertest.Server) {
	users := make([]wechatuser.UserInfo, 0, len(p.fans)+others)
	for _, id := range p.fans {
		users = append(users, wechatuser.UserInfo{OpenID: id, Remark: remarkOf(id)})
	}
	var leavers []string
	for id, k := range p.kinds {
		if k == gone {
			leavers = append(leavers, id)
			users = append(users, wechatuser.UserInfo{OpenID: id})
		}
	}
	account.AddUsers(users...)
	account.Unfollow(leavers...)
}

// remarkOf tells whose profile it is.
func remarkOf(openID string) string { return "of " + openID[len(openID)-20:] }

// sample is some followers in no order, and often a few openids that come twice or are of no use. Small samples are as
// likely as large ones.
func (p *people) sample(rng *rand.Rand) []string {
	n := int(math.Exp(rng.Float64()*math.Log(float64(len(p.fans)+1)))) - rng.IntN(2)
	ids := slices.Clone(p.fans)
	for i := range n {
		j := i + rng.IntN(len(ids)-i)
		ids[i], ids[j] = ids[j], ids[i]
	}
	ids = ids[:n:n]
	if rng.IntN(2) == 0 {
		return ids
	}
	for range rng.IntN(8) {
		more := p.bad[rng.IntN(len(p.bad))]
		if len(ids) > 0 && rng.IntN(2) == 0 {
			more = ids[rng.IntN(len(ids))]
		}
		ids = slices.Insert(ids, rng.IntN(len(ids)+1), more)
	}
	return ids
}

type set map[string]bool

func setOf(ids []string) set {
	s := make(set, len(ids))
	for _, id := range ids {
		s[id] = true
	}
	return s
}

// less is what is in s and not in o.
func (s set) less(o set) (ids []string) {
	for id := range s {
		if !o[id] {
			ids = append(ids, id)
		}
	}
	return ids
}
