package wechatusertest

import (
	"fmt"
	"reflect"
	"time"
)

// Quirks are odd ways of the platform, for clients that must get along with them: those that developers have published,
// and a few that its documentation leaves open, which have no link. The zero value, which is [Strict], has none of them.
// Numbers are probabilities from 0 to 1, of a call unless said otherwise.
type Quirks struct {
	// Seed is what [WithSeed] takes; 0 leaves that as it is.
	Seed uint64

	// HTMLErrors answers with HTTP status 502 and a page of HTML, and does not carry the call out, as an old address of the
	// platform did. https://github.com/garbetjie/wechat-php/issues/4
	HTMLErrors float64
	// SystemBusy refuses with -1, and does not carry the call out.
	SystemBusy float64
	// Latency makes each call take some time, up to this much.
	Latency time.Duration

	// PlainText sends the Content-Type "text/plain". https://github.com/node-webot/wechat-api/issues/126
	PlainText float64
	// ShuffledKeys writes the keys of JSON objects in another order.
	// https://developers.weixin.qq.com/community/personal/oCJUsw4ZiqofvQWItfpyPt_vb8q0
	ShuffledKeys float64
	// ErrmsgForms gives a refusal another of the forms of errmsg: a comma before the rid, older kinds of hint, no rid or
	// no text. https://developers.weixin.qq.com/community/personal/oCJUsw68Ufp6YQPq6Adxyxxnrmgo/answer?page=15
	ErrmsgForms float64
	// RawControl writes control characters in strings as they are, which is not JSON. The platform has done so with text
	// that was typed into its console. https://github.com/node-webot/co-wechat-api/issues/63
	RawControl bool

	// DecodedEscapes reads \uXXXX in a remark as the character that it stands for. Without it the six characters are
	// stored, and counted, as they are.
	// https://developers.weixin.qq.com/community/develop/doc/00086a2f0248708bc92ba55bd51c00
	DecodedEscapes bool
	// ShortPages gives a page of a list fewer openids than it could have. The list goes on after it.
	ShortPages float64
	// ReorderedBatch gives the profiles of batchget in another order than asked for.
	ReorderedBatch float64
	// ShortBatch makes batchget leave out openids that it does not know, in place of refusing the call with 40003.
	// https://developers.weixin.qq.com/community/personal/oCJUsw9O7spQia91XWy7NQSCS-QE
	ShortBatch bool
	// MixedUnionIDs attaches the unionids to the wrong profiles in an answer of batchget that is short, as was reported
	// with it. It needs ShortBatch.
	MixedUnionIDs bool

	// TagCountLag is how old the counts of tags/get can be, 10 hours on the platform.
	// https://developers.weixin.qq.com/community/personal/oCJUsw0SIktDDzsAwre-41Yoi2n8
	TagCountLag time.Duration
	// FalseInvalidTag refuses batchtagging and batchuntagging with 45159 though the tag exists, as happens after its
	// creation and on bad days. https://developers.weixin.qq.com/community/personal/oCJUsw0I0BKVb9w_n95J3yTx4dPA
	FalseInvalidTag float64
	// ConcurrentTagging refuses batchtagging and batchuntagging with 45169 while another such call for one of the openids
	// is under way. It takes a Latency or [Server.Delay] for calls to last.
	// https://developers.weixin.qq.com/community/develop/doc/000640968607e00ca7b1f3b656b400
	ConcurrentTagging bool
	// PartialTagging carries batchtagging and batchuntagging out for some openids, and answers 45171 with the others.
	// https://developers.weixin.qq.com/doc/service/api/usermanage/tag/api_batchtagging.html
	PartialTagging float64
	// DeletableTags lets tags be deleted that have more than 100,000 followers, for which 45057 is no longer documented.
	DeletableTags bool

	// NoTokenOverlap ends a legacy token at once when another one is fetched, in place of 5 minutes later.
	NoTokenOverlap bool
	// UnusedQuota makes quota/get say that nothing is used, also while calls are refused with 45009.
	// https://developers.weixin.qq.com/community/personal/oCJUswzlrUZiiZD6o5yMFx1P6YD0
	UnusedQuota bool
}

// Strict is the platform at its best, as a server is without [WithQuirks]: the zero value.
func Strict() Quirks { return Quirks{} }

// Wild is the platform on a bad day: one call in thirty fails for no reason, so that three attempts fail for one in some
// 30,000, and whatever can be odd about an answer is so now and then. The same seed gives the same day; see [WithSeed]. It
// has all quirks but DecodedEscapes, without which remarks are the odder ones.
func Wild(seed uint64) Quirks {
	return Quirks{
		Seed: seed,

		HTMLErrors: 0.01, SystemBusy: 0.02, Latency: 2 * time.Millisecond,
		PlainText: 0.3, ShuffledKeys: 0.3, ErrmsgForms: 0.5, RawControl: true,
		ShortPages: 0.3, ReorderedBatch: 0.3, ShortBatch: true, MixedUnionIDs: true,
		TagCountLag: 10 * time.Hour, FalseInvalidTag: 0.05, ConcurrentTagging: true, PartialTagging: 0.05,
		DeletableTags: true, NoTokenOverlap: true, UnusedQuota: true,
	}
}

// check panics on a number that is no probability.
func (q Quirks) check() {
	v := reflect.ValueOf(q)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Float64 && !(f.Float() >= 0 && f.Float() <= 1) {
			panic(fmt.Sprintf("wechatusertest: WithQuirks: %s is %v, which is no probability from 0 to 1", v.Type().Field(i).Name, f.Float()))
		}
	}
}
