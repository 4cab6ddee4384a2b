package wechatuser

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// The platform is known to mix up a batch of profiles that has an openid it does not know: the response has all openids
// that were asked for, but from the unknown one on, the UnionID of each profile, or the whole profile, is that of the
// next one. The last profile is then empty, because there is no next one, and this shows that the response is mixed up.
// See docs/decisions/0017-profiles-that-are-proven.md.

// errUnproven is what was wrong with a response that is an [ErrUnproven].
var errUnproven = errors.New("the profiles may have the UnionID of somebody else: " +
	"BulkUserInfo finds out which are right")

// parts are the parts of a profile that a follower has, and that the last profile of a mixed-up batch lacks.
type parts uint8

const (
	followsAccount parts = 1 << iota
	hasFollowTime
	hasUnionID
)

func partsOf(u *UserInfo) (p parts) {
	if u.Subscribe != 0 {
		p |= followsAccount
	}
	if u.SubscribeTime != 0 {
		p |= hasFollowTime
	}
	if u.UnionID != "" {
		p |= hasUnionID
	}
	return p
}

// evidence is what the last response about an openid looked like.
type evidence struct {
	asked   bool
	bare    bool // it lacked a part that another profile of the response had
	follows bool
}

// isSuspect reports whether the profiles of a response, one for each openid, may be mixed up. inOrder says that they
// are in the order of the openids asked for. seen, if not nil, returns what an earlier response said about the user of
// profile i; isSuspect replaces it by what this one says.
//
// A profile that was asked for alone is never suspect: there is no other one to mix it up with.
func isSuspect(users []UserInfo, inOrder bool, seen func(i int) *evidence) (suspect bool) {
	if len(users) < 2 {
		return false
	}
	var all parts
	for i := range users {
		all |= partsOf(&users[i])
	}
	var owners unionIDs
	for i := range users {
		u, has := &users[i], partsOf(&users[i])
		now := evidence{asked: true, bare: has != all, follows: has&followsAccount != 0}
		var before evidence
		if seen != nil {
			e := seen(i)
			before, *e = *e, now
		}
		switch isLast := i == len(users)-1; {
		case now.bare && (isLast || !inOrder): // as the last one of a mixed-up response
			suspect = true
		case now.bare && now.follows && before != now: // elsewhere, two responses have to agree about it
			suspect = true
		case u.UnionID != "" && !now.follows: // the platform sends none for a former follower
			suspect = true
		}
		if u.UnionID != "" && !owners.add(users, i) {
			suspect = true
		}
	}
	return suspect
}

// unionIDs is a set of the UnionIDs of up to [MaxUserInfoBatch] profiles that needs no memory of its own.
type unionIDs [256]uint8 // the place of a profile, counted from 1, at a hash of its UnionID

var unionIDSeed = maphash.MakeSeed()

// add adds the UnionID of users[i]. It reports false if another openid has the same.
func (s *unionIDs) add(users []UserInfo, i int) bool {
	at := uint8(maphash.String(unionIDSeed, users[i].UnionID))
	for ; s[at] != 0; at++ {
		if other := &users[s[at]-1]; other.UnionID == users[i].UnionID {
			return other.OpenID == users[i].OpenID
		}
	}
	s[at] = uint8(i + 1)
	return true
}

// checkBatch returns an errUnproven if the profiles of a response are not one for each that was asked for, or may be
// mixed up.
func checkBatch(asked []UserQuery, users []UserInfo) error {
	inOrder := len(users) == len(asked)
	for i := 0; i < len(users) && inOrder; i++ {
		inOrder = users[i].OpenID == asked[i].OpenID
	}
	if !inOrder {
		err := matchOpenIDs(len(asked), func(i int) string { return asked[i].OpenID },
			len(users), func(i int) string { return users[i].OpenID })
		if err != nil {
			return fmt.Errorf("%w; %w", err, errUnproven)
		}
	}
	if isSuspect(users, inOrder, nil) {
		return fmt.Errorf("the response looks mixed up: its last profile is empty, or only some followers have a UnionID; %w",
			errUnproven)
	}
	return nil
}

// matchOpenIDs returns an error unless a response has a result for each openid that was asked for, and no other. An
// openid that was asked for twice may have one or two.
func matchOpenIDs(asked int, question func(int) string, got int, result func(int) string) error {
	left := make(map[string]int, asked)
	for i := range asked {
		left[question(i)]++
	}
	found := make(map[string]bool, got)
	for i := range got {
		id := result(i)
		if left[id] == 0 {
			return errors.New("the response has a result for an openid that was not asked for, or too many for one")
		}
		left[id]--
		found[id] = true
	}
	if len(found) < len(left) {
		return errors.New("the response has no result for one of the openids, which may belong to another account")
	}
	return nil
}

// lacksSubscribe reports whether a profile of the response does not say whether the user follows. Once decoded, such a
// profile looks like that of a former follower.
func lacksSubscribe(users []UserInfo, body []byte) bool {
	if !slices.ContainsFunc(users, func(u UserInfo) bool { return u.Subscribe == 0 }) {
		return false
	}
	said := 0
	for name := []byte(`"subscribe"`); ; {
		i := bytes.Index(body, name)
		if i < 0 {
			return said < len(users)
		}
		body = bytes.TrimLeft(body[i+len(name):], " \t\r\n")
		value, isName := bytes.CutPrefix(body, []byte(":"))
		value = bytes.TrimLeft(value, " \t\r\n")
		// null, "", [] and {} are read as 0, and say nothing.
		empty := bytes.HasPrefix(value, []byte(`""`)) || len(value) > 0 && strings.IndexByte("n[{", value[0]) >= 0
		if isName && !empty {
			said++
		}
	}
}

var errNoSubscribe = errors.New("the response does not say whether the user follows: it has no subscribe")
