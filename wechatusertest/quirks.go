package wechatusertest

import (
	"fmt"
	"reflect"
	"time"
)

// Quirks are odd behaviors of the platform that a client should tolerate. Those with a link were published by
// developers; the others are cases that the documentation leaves open. The zero value, which is [Strict], has none.
// Float fields are probabilities from 0 to 1, for each call unless noted otherwise.
type Quirks struct {
	// Seed sets the seed, as [WithSeed] does; 0 does not change it.
	Seed uint64

	// HTMLErrors responds with HTTP status 502 and an HTML page, and does not carry the call out. An old host of the
	// platform did so. https://github.com/garbetjie/wechat-php/issues/4
	HTMLErrors float64
	// SystemBusy fails the call with -1, and does not carry it out.
	SystemBusy float64
	// Latency delays each call by a random time up to this value.
	Latency time.Duration

	// PlainText sends the Content-Type "text/plain". https://github.com/node-webot/wechat-api/issues/126
	PlainText float64
	// ShuffledKeys writes the keys of JSON objects in random order.
	// https://developers.weixin.qq.com/community/personal/oCJUsw4ZiqofvQWItfpyPt_vb8q0
	ShuffledKeys float64
	// ErrmsgForms writes errmsg in another form that the platform has used: with a comma before the rid, with an older
	// kind of hint, without the rid or without the text.
	// https://developers.weixin.qq.com/community/personal/oCJUsw68Ufp6YQPq6Adxyxxnrmgo/answer?page=15
	ErrmsgForms float64
	// RawControl does not escape those control characters in strings for which JSON has no short escape, which makes
	// the JSON invalid. The platform does so with text that was entered in its console.
	// https://github.com/node-webot/co-wechat-api/issues/63
	RawControl bool
	// RawQuotes does not escape quotes and backslashes in what people have typed: remarks, names and places. One such
	// profile breaks the JSON of its whole batch. https://github.com/node-webot/co-wechat-api/issues/63
	RawQuotes bool
	// OtherTypes writes values in other types that mean the same: numbers in quotes, with a fraction or an exponent, texts
	// of digits without quotes, booleans as 1 and 0, and null, "", [] or {} for 0 and for each other. errcode and subscribe
	// are never empty. Nobody has reported this of the platform, but caches, gateways and mocks of other SDKs do it.
	OtherTypes float64

	// DecodedEscapes decodes \uXXXX in a remark. Without it, the six characters are stored and counted unchanged.
	// https://developers.weixin.qq.com/community/develop/doc/00086a2f0248708bc92ba55bd51c00
	DecodedEscapes bool
	// ShortPages returns fewer openids in a page of a list than it could, although the list goes on.
	ShortPages float64
	// NoCursor leaves next_openid empty in a page of a list that has openids. According to the documentation this
	// happens on the last page; nobody has reported it for any other.
	// https://developers.weixin.qq.com/doc/service/api/usermanage/userinfo/api_getfans.html
	NoCursor float64
	// MaxBatch is the number of openids above which batchget, batchtagging, batchuntagging and the calls of the
	// blacklist fail with 40032, although the documented limit is higher; 0 stands for the documented limit. Developers
	// have reported this for batchget with 100 openids.
	MaxBatch int
	// ReorderedBatch returns the profiles of batchget in random order.
	ReorderedBatch float64
	// ShortBatch makes batchget leave out unknown openids. Without it, the call fails with 40003.
	// https://developers.weixin.qq.com/community/personal/oCJUsw9O7spQia91XWy7NQSCS-QE
	ShortBatch bool
	// MixedUnionIDs makes batchget return all openids, even unknown ones. From an unknown openid on, each has the
	// unionid or the whole profile of the next one, as in the same report. The report does not say what the last one
	// has: at random it has no unionid, or the profile of a user who does not follow, or is left out. With ShortBatch,
	// each call has one of the two quirks at random.
	MixedUnionIDs bool
	// BareEmptyTag makes user/tag/get respond with {"count":0} for a page without openids.
	// https://github.com/wechatpy/wechatpy/issues/273
	BareEmptyTag bool

	// TagCountLag is the maximum age of the counts in tags/get. It is 10 hours on the platform.
	// https://developers.weixin.qq.com/community/personal/oCJUsw0SIktDDzsAwre-41Yoi2n8
	TagCountLag time.Duration
	// FalseInvalidTag fails batchtagging and batchuntagging with 45159 although the tag exists. The platform does so
	// after the creation of a tag, and at times without a reason.
	// https://developers.weixin.qq.com/community/personal/oCJUsw0I0BKVb9w_n95J3yTx4dPA
	FalseInvalidTag float64
	// ConcurrentTagging fails batchtagging and batchuntagging with 45169 while another such call for one of the openids
	// is in progress. It only has an effect if calls take time: set Latency or use [Server.Delay].
	// https://developers.weixin.qq.com/community/develop/doc/000640968607e00ca7b1f3b656b400
	ConcurrentTagging bool
	// PartialTagging carries out batchtagging and batchuntagging for some openids, and returns 45171 with the others.
	// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchtagging.html
	PartialTagging float64
	// DeletableTags allows deleting tags with more than 100,000 followers. The error for this, 45057, is no longer
	// documented.
	DeletableTags bool

	// NoTokenOverlap revokes a legacy token as soon as another one is fetched. Without it, the old token remains valid
	// for 5 minutes.
	NoTokenOverlap bool
	// TokenOutlivesForce keeps the newest stable token valid after a forced refresh, until the next forced refresh. The
	// platform's documentation advises two of them after a leak, 30 seconds apart, since after one the old token may
	// remain valid.
	// https://developers.weixin.qq.com/doc/channels/API/leagueheadsupplier/getStableAccessToken.html
	TokenOutlivesForce bool
	// UnusedQuota makes quota/get report that nothing is used, even while calls fail with 45009.
	// https://developers.weixin.qq.com/community/personal/oCJUswzlrUZiiZD6o5yMFx1P6YD0
	UnusedQuota bool

	// RepeatedPushes sends a push again although it was delivered, with the same CreateTime. Field Repeated of the
	// second [Push] is set. The platform's documentation asks developers to expect repeats.
	// https://developers.weixin.qq.com/doc/service/en/guide/product/message/Passive_user_reply_message.html
	RepeatedPushes float64
	// ReorderedPushes holds a push back until another one has been sent, for at most five seconds by the account's clock.
	// [Server.WaitPushes] does not wait for these five seconds.
	ReorderedPushes float64
	// PushDelay delays each push by a random time up to this value, by the account's clock, so that pushes arrive late
	// and in another order.
	PushDelay time.Duration
	// OldAESKey is the time after [Server.ChangeAESKey] during which about every second push is still encrypted with the
	// old key, in all its attempts.
	// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/Technical_Plan.html
	OldAESKey time.Duration
}

// Strict returns the zero Quirks: the documented behavior, as without [WithQuirks].
func Strict() Quirks { return Quirks{} }

// Wild returns the quirks of a bad day: about one call in 30 fails at random, so that about one in 30,000 fails three
// times in a row, and responses are odd in every way that [Quirks] knows. The same seed produces the same behavior; see
// [WithSeed]. It sets all quirks except DecodedEscapes, because undecoded remarks are the harder case, and those that
// nobody has reported of the platform: NoCursor and OtherTypes.
func Wild(seed uint64) Quirks {
	return Quirks{
		Seed: seed,

		HTMLErrors: 0.01, SystemBusy: 0.02, Latency: 2 * time.Millisecond,
		PlainText: 0.3, ShuffledKeys: 0.3, ErrmsgForms: 0.5, RawControl: true, RawQuotes: true,
		ShortPages: 0.3, MaxBatch: 99, ReorderedBatch: 0.3, ShortBatch: true, MixedUnionIDs: true, BareEmptyTag: true,
		TagCountLag: 10 * time.Hour, FalseInvalidTag: 0.05, ConcurrentTagging: true, PartialTagging: 0.05,
		DeletableTags: true, NoTokenOverlap: true, TokenOutlivesForce: true, UnusedQuota: true,
		RepeatedPushes: 0.1, ReorderedPushes: 0.1, PushDelay: 20 * time.Millisecond, OldAESKey: 5 * time.Minute,
	}
}

// tooMany reports whether a call has too many openids, for a documented limit.
func (q *Quirks) tooMany(openIDs, limit int) bool {
	return openIDs > limit || q.MaxBatch > 0 && openIDs > q.MaxBatch
}

// check panics if a probability is not from 0 to 1.
func (q Quirks) check() {
	v := reflect.ValueOf(q)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Float64 && !(f.Float() >= 0 && f.Float() <= 1) {
			panic(fmt.Sprintf("wechatusertest: WithQuirks: the probability %s must be from 0 to 1, not %v",
				v.Type().Field(i).Name, f.Float()))
		}
	}
}
