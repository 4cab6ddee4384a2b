package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// kind is what an openid stands for.
type kind int

const (
	follower kind = iota
	formerFollower
	foreign // of another account
	malformed
)

// population holds the openids of a run.
type population struct {
	fans   []string // in the order of the list of followers
	kinds  map[string]kind
	others []string // all openids that are not followers
}

const (
	minFans       = 100
	othersPerKind = 40
)

func newPopulation(n int) *population {
	p := &population{kinds: make(map[string]kind)}
	for i := range n {
		p.fans = append(p.fans, wechatusertest.OpenID(i))
	}
	p.others = []string{"", "oFAKE with a space"}
	for i := range othersPerKind {
		p.kinds[wechatusertest.OpenID(n+i)] = formerFollower
		p.kinds[wechatusertest.ForeignOpenID(i)] = foreign
		p.others = append(p.others, wechatusertest.OpenID(n+i), wechatusertest.ForeignOpenID(i))
	}
	p.kinds[p.others[0]], p.kinds[p.others[1]] = malformed, malformed
	return p
}

// addTo adds the followers and the former followers to the account.
func (p *population) addTo(account *wechatusertest.Server) {
	users := make([]wechatuser.UserInfo, 0, len(p.fans)+othersPerKind)
	for _, id := range p.fans {
		users = append(users, wechatuser.UserInfo{OpenID: id, Remark: remarkOf(id)})
	}
	var former []string
	for id, k := range p.kinds {
		if k == formerFollower {
			former = append(former, id)
			users = append(users, wechatuser.UserInfo{OpenID: id})
		}
	}
	account.AddUsers(users...)
	account.Unfollow(former...)
}

// remarkOf returns the remark by which a follower's profile is recognized.
func remarkOf(openID string) string { return "of " + openID[len(openID)-20:] }

// sample returns some followers in random order. In half of the samples it inserts up to seven openids that are
// duplicates or not followers. Small samples are as likely as large ones.
func (p *population) sample(rng *rand.Rand) []string {
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
		id := p.others[rng.IntN(len(p.others))]
		if len(ids) > 0 && rng.IntN(2) == 0 {
			id = ids[rng.IntN(len(ids))]
		}
		ids = slices.Insert(ids, rng.IntN(len(ids)+1), id)
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

// minus returns the elements of s that are not in o.
func (s set) minus(o set) (ids []string) {
	for id := range s {
		if !o[id] {
			ids = append(ids, id)
		}
	}
	return ids
}
