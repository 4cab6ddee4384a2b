package test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/testutil"
)

var update = flag.Bool("update", false, "rewrite the documents that tests generate")

// kind is a group of calls with the same outcomes.
type kind string

const (
	reads         kind = "reads"
	writes        kind = "writes"
	createTags    kind = "CreateTag"
	deleteTags    kind = "DeleteTag"
	clearQuotas   kind = "clearing a quota"
	clearBySecret kind = "ClearQuotaByAppSecret"
	tokenCalls    kind = "Token"
	forcedTokens  kind = "RefreshToken"
)

var kinds = []kind{reads, writes, createTags, deleteTags, clearQuotas, clearBySecret, tokenCalls, forcedTokens}

// kindOf returns the kind of a call.
func kindOf(call testutil.APICall) kind {
	switch {
	case call.Name == "RefreshToken":
		return forcedTokens
	case call.IsTokenCall():
		return tokenCalls
	case call.OwnAuth:
		return clearBySecret
	case call.Retry == testutil.RetryNever:
		return clearQuotas
	case call.Retry == testutil.RetryLookUp:
		return map[string]kind{"createTag": createTags, "deleteTag": deleteTags}[call.API]
	case call.Write:
		return writes
	}
	return reads
}

// fault is one fault. Its text says what a user sees and should do.
type fault struct {
	name   string
	text   string
	inject testutil.Injector
	real   bool          // on real sockets, and so in real time
	result string        // of the call, if the family leaves it open
	least  time.Duration // shortest delay before each retry
	large  bool          // costs much memory
}

// family is a group of faults with the same outcomes.
type family struct {
	title, text string
	faults      []fault
	ambiguous   bool // the platform may have applied the request; both cases are measured
	onToken     bool // the fault hits token requests, not the call
	warm        bool // the client has a token
	want        []row
}

// row is the outcome of some kinds of calls.
type row struct {
	of      []kind
	applied applied
	always  outcome // with the fault on each request; zero if not measured
	once    outcome // with the fault on the first request; likewise
}

// applied says whether the platform applied the request with the fault.
type applied int

const (
	maybeApplied applied = iota
	notApplied
	wasApplied
)

// outcome is the result of a call and its number of requests.
type outcome struct {
	result        string // "ok", or the type of the error and its classes; without a type, appended to those of the fault
	calls, tokens int
}

func (o outcome) measured() bool { return o != outcome{} }

// Common results.
const (
	noResponse   = "TransportError ErrTemporary"
	notAResponse = "ResponseError ErrTemporary"
	tooMany      = "ResponseError ErrRateLimited ErrTemporary"
	busyResponse = "Error ErrTemporary"
	ambiguous    = " ErrAmbiguous"
)

func ok(calls, tokens int) outcome { return outcome{"ok", calls, tokens} }

// apis are the calls that take a token.
var apis = []kind{reads, writes, createTags, deleteTags, clearQuotas}

// unclear returns the outcomes if a request was sent and its outcome is unknown.
func unclear(result string) []row {
	return []row{
		{of: []kind{reads}, always: outcome{result, 3, 1}, once: ok(2, 1)},
		{of: []kind{writes}, always: outcome{result + ambiguous, 3, 1}, once: ok(2, 1)},
		{of: []kind{createTags}, applied: notApplied, always: outcome{result + ambiguous, 4, 1}, once: ok(2, 1)},
		{of: []kind{createTags}, applied: wasApplied, always: ok(4, 1), once: ok(3, 1)},
		{of: []kind{deleteTags}, applied: notApplied, always: outcome{result + ambiguous, 4, 1}, once: ok(2, 1)},
		{of: []kind{deleteTags}, applied: wasApplied, always: ok(4, 1), once: ok(2, 1)},
		{of: []kind{clearQuotas}, always: outcome{result + ambiguous, 1, 1}, once: outcome{result + ambiguous, 1, 1}},
		{of: []kind{clearBySecret}, always: outcome{result + ambiguous, 1, 0}, once: outcome{result + ambiguous, 1, 0}},
		{of: []kind{tokenCalls}, always: outcome{result, 0, 3}, once: ok(0, 2)},
		{of: []kind{forcedTokens}, always: outcome{result, 0, 1}, once: outcome{result, 0, 1}},
	}
}

// final returns the outcomes if the first response is final.
func final(result string) []row {
	return []row{
		{of: apis, always: outcome{result, 1, 1}, once: outcome{result, 1, 1}},
		{of: []kind{clearBySecret}, always: outcome{result, 1, 0}, once: outcome{result, 1, 0}},
		{of: []kind{tokenCalls, forcedTokens}, always: outcome{result, 0, 1}, once: outcome{result, 0, 1}},
	}
}

// givenUp returns the outcomes if a request is not retried and its outcome is unknown.
func givenUp(result string) []row {
	same := func(of kind, did applied, o outcome) row {
		return row{of: []kind{of}, applied: did, always: o, once: o}
	}
	return []row{
		same(reads, maybeApplied, outcome{result, 1, 1}),
		same(writes, maybeApplied, outcome{result + ambiguous, 1, 1}),
		same(createTags, notApplied, outcome{result + ambiguous, 2, 1}),
		same(createTags, wasApplied, ok(2, 1)),
		same(deleteTags, notApplied, outcome{result + ambiguous, 2, 1}),
		same(deleteTags, wasApplied, ok(2, 1)),
		same(clearQuotas, maybeApplied, outcome{result + ambiguous, 1, 1}),
		same(clearBySecret, maybeApplied, outcome{result + ambiguous, 1, 0}),
		same(tokenCalls, maybeApplied, outcome{result, 0, 1}),
		same(forcedTokens, maybeApplied, outcome{result, 0, 1}),
	}
}

// faultTable is the matrix.
var faultTable = []family{
	{
		title: "The platform can't be reached",
		text:  "Nothing was sent, so that each call may be repeated. With more than one address the next one is tried at once.",
		faults: []fault{
			{
				name: "DNS failure", real: true, inject: noSuchHost,
				text: "The name of the platform's host is not known. Check the resolver, and whether the network lets DNS through.",
			},
			{
				name: "refused", real: true, inject: refusedConnection,
				text: "Nobody listens at the address. Check the proxy and the address given to `WithBaseURL`.",
			},
			{
				name: "certificate of nobody", real: true, inject: unknownCertificate,
				text: "TLS failed: somebody who is not the platform answers, often a proxy that reads along. Give its certificate to the transport, or take it out of the way.",
			},
			{
				name: "TLS handshake cut", real: true, inject: cutHandshake,
				text: "The connection ended before TLS was ready. A firewall that knows host names does that.",
			},
		},
		want: []row{
			{of: apis, always: outcome{noResponse, 3, 1}, once: ok(2, 1)},
			{of: []kind{clearBySecret}, always: outcome{noResponse, 3, 0}, once: ok(2, 0)},
			{of: []kind{tokenCalls, forcedTokens}, always: outcome{noResponse, 0, 3}, once: ok(0, 2)},
		},
	},
	{
		title:     "Sent, and no answer",
		text:      "The platform may have carried the request out. What has the same effect twice as once is sent again; tags are looked up.",
		ambiguous: true,
		faults: []fault{
			{
				name: "reset", real: true, inject: testutil.Socket{Reset: true}.Inject,
				text: "The connection was reset after the request was read. An error that matches `ErrAmbiguous` says that a write may have been applied: read the state, or make the call again.",
			},
			{
				name: "closed", real: true, inject: testutil.Socket{}.Inject,
				text: "The connection ended without an answer, as when a proxy restarts. As above.",
			},
			{
				name: "timeout before the answer", inject: testutil.RespondInstead(testutil.Hang),
				text: "Nothing came within the time of an attempt, 10 s unless `WithTimeout` says otherwise; `errors.Is(err, context.DeadlineExceeded)` is true. Give the call's context more time than all its attempts need, or less to end it early.",
			},
			{
				name: "timeout in the body", inject: testutil.RespondInstead(slowBody),
				text: "The answer began, and did not end within the time of the attempt. As above.",
			},
		},
		want: unclear(noResponse),
	},
	{
		title: "Reset before the request was read",
		text:  "The client can't know that the platform has not seen the request, so that this is treated as the faults above.",
		faults: []fault{{
			name: "reset at once", real: true, inject: testutil.Socket{Reset: true, Unread: true}.Inject,
			text: "The connection was reset at the first byte. `ErrAmbiguous` is then too careful, and never too careless.",
		}},
		want: slices.DeleteFunc(unclear(noResponse), func(r row) bool { return r.applied == wasApplied }),
	},
	{
		title:     "An answer that is not the platform's",
		text:      "Something between the two has answered. The error shows the status, the Content-Type and the first 200 characters of the body.",
		ambiguous: true,
		faults: []fault{
			{
				name: "HTML with status 200", inject: testutil.RespondInstead(testutil.Respond(200, "<html>Please log in</html>", "Content-Type", "text/html")),
				text: "A login page of a network or a proxy. Look at `Snippet`.",
			},
			{
				name: "HTML with status 502", inject: testutil.RespondInstead(testutil.Respond(502, "<html>Bad Gateway</html>", "Content-Type", "text/html")),
				text: "A gateway could not reach what is behind it. Wait, and look at the platform's announcements if it lasts.",
			},
			{
				name: "503 with Retry-After", least: 30 * time.Second, inject: testutil.RespondInstead(testutil.Respond(503, "", "Retry-After", "30")),
				text: "The server asked for some time, and the repeats wait for as long as it says, up to a minute. `RetryAfter` of the error has it.",
			},
			{
				name: "empty", inject: testutil.RespondInstead(testutil.Respond(200, "")),
				text: "An answer without a body is no answer.",
			},
			{
				name: "null", inject: testutil.RespondInstead(testutil.RespondJSON("null")),
				text: "Valid JSON, and not the platform's. It never becomes a zero value with a nil error.",
			},
			{
				name: "cut body", real: true, inject: testutil.Socket{Response: httpOK("Content-Length: 23") + `{"errcode":0,`}.Inject,
				text: "The connection ended in the middle of the answer.",
			},
			{
				name: "reset in the body", real: true, inject: resetInTheBody,
				text: "The connection was reset in the middle of the answer.",
			},
			{
				name: "Content-Length too small", real: true, inject: testutil.Socket{Response: httpOK("Content-Length: 10") + testutil.OKBody}.Inject,
				text: "The answer says that it is shorter than it is, and what is read is no JSON any more. Look for a proxy that changes answers.",
			},
			{
				name: "Content-Length too large", real: true, inject: testutil.Socket{Response: httpOK("Content-Length: 99") + testutil.OKBody}.Inject,
				text: "The answer says that it is longer than it is. What came could be the whole, or not: it is not taken.",
			},
			{
				name: "gzip that is none", real: true, inject: testutil.Socket{Response: httpOK("Content-Encoding: gzip", "Content-Length: 27") + testutil.OKBody}.Inject,
				text: "The header says gzip, and the body is something else. Look for a proxy that changes answers.",
			},
		},
		want: unclear(notAResponse),
	},
	{
		title:     "An answer that is not taken, and would not change",
		text:      "The call is not repeated, since the next answer would be the same or come too late.",
		ambiguous: true,
		faults: []fault{
			{
				name: "body of more than 16 MiB", inject: testutil.RespondInstead(oversize), large: true, result: "ResponseError",
				text: "No page of the platform is a fiftieth of that. What is too much is not read.",
			},
			{
				name: "gzip bomb", inject: testutil.RespondInstead(gzipBomb), large: true, result: "ResponseError",
				text: "16 KiB that unpack to more than 16 MiB. No more than that is unpacked.",
			},
			{
				name: "503 with a long Retry-After", inject: testutil.RespondInstead(testutil.Respond(503, "", "Retry-After", "120")), result: notAResponse,
				text: "The server asked for more than a minute. Make the call again after `RetryAfter`.",
			},
		},
		want: givenUp(""),
	},
	{
		title: "Too many requests",
		text:  "Status 429 comes from a gateway that let the request no further.",
		faults: []fault{{
			name: "429", inject: testutil.RespondInstead(testutil.Respond(429, "", "Retry-After", "5")), least: 5 * time.Second,
			text: "Send fewer calls at a time: `WithLimiter`, `WithConcurrency`.",
		}},
		want: []row{
			{of: []kind{reads, writes, createTags, deleteTags}, always: outcome{tooMany, 3, 1}, once: ok(2, 1)},
			{of: []kind{clearQuotas}, always: outcome{tooMany, 1, 1}, once: outcome{tooMany, 1, 1}},
			{of: []kind{clearBySecret}, always: outcome{tooMany, 1, 0}, once: outcome{tooMany, 1, 0}},
			{of: []kind{tokenCalls}, always: outcome{tooMany, 0, 3}, once: ok(0, 2)},
			{of: []kind{forcedTokens}, always: outcome{tooMany, 0, 1}, once: outcome{tooMany, 0, 1}},
		},
	},
	{
		title: "Sent elsewhere, or away",
		text:  "Somebody has set this up, so that it stays. No redirect is followed: it would carry the token or the secret to another host.",
		faults: []fault{
			{name: "301", inject: testutil.RespondInstead(redirect(301)), text: "Moved for good. Check the address given to `WithBaseURL`, and the proxy."},
			{name: "302", inject: testutil.RespondInstead(redirect(302)), text: "Often the login page of a network."},
			{name: "303", inject: testutil.RespondInstead(redirect(303)), text: "As above."},
			{name: "307", inject: testutil.RespondInstead(redirect(307)), text: "As 302; this one would have sent the body elsewhere too."},
			{name: "308", inject: testutil.RespondInstead(redirect(308)), text: "As 301; this one would have sent the body elsewhere too."},
			{name: "403", inject: testutil.RespondInstead(testutil.Respond(403, "<html>Forbidden</html>")), text: "A proxy or a firewall forbids it. The platform itself refuses with an errcode and status 200."},
		},
		want: final("ResponseError"),
	},
	{
		title: "Odd, and understood",
		text:  "The platform has been seen to answer so.",
		faults: []fault{
			{
				name: "control characters", inject: testutil.AlterResponse(func(body string) testutil.Reply {
					return testutil.RespondJSON(`{"note":"a` + "\x01\t\n" + `b",` + body[1:])
				}),
				text: "Text that was typed into the console comes with characters that JSON forbids. They are kept.",
			},
			{
				name: "invalid UTF-8", inject: testutil.AlterResponse(func(body string) testutil.Reply {
					return testutil.RespondJSON(`{"note":"` + "\xff\xc3" + `",` + body[1:])
				}),
				text: "Bytes that are no UTF-8 become U+FFFD, and the rest is read.",
			},
			{
				name: "another Content-Type", inject: testutil.AlterResponse(func(body string) testutil.Reply { return testutil.Respond(200, body, "Content-Type", "text/plain") }),
				text: "The body is read whatever the header says.",
			},
			{
				name: "gzip", inject: testutil.AlterResponse(func(body string) testutil.Reply {
					return testutil.Respond(200, zipped(strings.NewReader(body)), "Content-Encoding", "gzip")
				}),
				text: "A compressed answer is unpacked, also where the transport does not.",
			},
		},
		want: []row{
			{of: apis, always: ok(1, 1)},
			{of: []kind{clearBySecret}, always: ok(1, 0)},
			{of: []kind{tokenCalls, forcedTokens}, always: ok(0, 1)},
		},
	},
	{
		title:     "Busy",
		text:      "The platform answers with an errcode that means \"try again\", and does not say what became of the request.",
		ambiguous: true,
		faults: []fault{
			{name: "-1", inject: testutil.RespondInstead(testutil.RespondCode(-1)), text: "System busy. After three attempts, wait some seconds and make the call again."},
			{name: "268487001", inject: testutil.RespondInstead(testutil.RespondCode(268487001)), text: "As -1; batchBlacklist gives it."},
			{name: "268487002", inject: testutil.RespondInstead(testutil.RespondCode(268487002)), text: "As -1; getFans gives it."},
		},
		want: unclear(busyResponse),
	},
	{
		title: "Busy with this user",
		text:  "Not applied, so that each call may be repeated.",
		faults: []fault{{
			name: "45169", inject: testutil.RespondInstead(testutil.RespondCode(45169)),
			text: "Two calls tag the same follower at a time. Let one program do it; a bulk job never sends an openid twice at a time.",
		}},
		want: []row{
			{of: apis, always: outcome{busyResponse, 3, 1}, once: ok(2, 1)},
			{of: []kind{clearBySecret}, always: outcome{busyResponse, 3, 0}, once: ok(2, 0)},
			{of: []kind{tokenCalls, forcedTokens}, always: outcome{busyResponse, 0, 3}, once: ok(0, 2)},
		},
	},
	{
		title: "Refused",
		text:  "The platform did not apply it and would say the same again. One errcode stands for its class here; `Remedy` of a code says what to do.",
		faults: []fault{
			{name: "45011", result: "Error ErrRateLimited ErrTemporary", inject: testutil.RespondInstead(testutil.RespondCode(45011)), text: "The minute's quota is used up. Make the call again in the next minute; a bulk job does so by itself."},
			{name: "45009", result: "Error ErrRateLimited", inject: testutil.RespondInstead(testutil.RespondCode(45009)), text: "The day's quota is used up. Wait for the next day, or see `ClearQuota`."},
			{name: "48001", result: "Error ErrPermission", inject: testutil.RespondInstead(testutil.RespondCode(48001)), text: "The account does not have this API."},
			{name: "40164", result: "Error ErrCredential ErrPermission", inject: testutil.RespondInstead(testutil.RespondCode(40164)), text: "The caller's IP address is not in the account's whitelist. The message has the address."},
			{name: "40003", result: "Error ErrInvalidArgument", inject: testutil.RespondInstead(testutil.RespondCode(40003)), text: "An openid of another account, or none at all. A bulk job names it and goes on with the others."},
			{name: "43004", result: "Error ErrNotFollowing", inject: testutil.RespondInstead(testutil.RespondCode(43004)), text: "The user does not follow the account. Leave the user out."},
			{name: "45159", result: "Error ErrInvalidArgument", inject: testutil.RespondInstead(testutil.RespondCode(45159)), text: "There is no such tag."},
			{name: "a code that nobody knows", result: "Error", inject: testutil.RespondInstead(testutil.RespondCode(12345)), text: "It comes back as it is: `e.Code`, `e.Message`, `e.RID`."},
		},
		want: final(""),
	},
	{
		title: "The token ends too early",
		text:  "The client has a token, and the platform refuses it. It is renewed once and the call is repeated, also one that is never repeated otherwise: a refused token means that nothing was applied.",
		warm:  true,
		faults: []fault{
			{
				name: "revoked before the call", inject: revokeBefore,
				text: "Another program has renewed it. If it happens often, share the token: `WithTokenStore`, `WithTokenSource`.",
			},
			{
				name: "expired before its time", inject: expireBefore,
				text: "The clock of the platform and the token's lifetime disagree (42001). Nothing is to be done.",
			},
		},
		want: []row{
			{of: apis, always: outcome{"Error ErrInvalidToken", 2, 1}, once: ok(2, 1)},
			{of: []kind{clearBySecret}, always: ok(1, 0), once: ok(1, 0)},
		},
	},
	{
		title: "The token is refused, and handed out again",
		text:  "The platform's token interface goes on giving a token that its other interfaces refuse. One renewal is forced, at most once in 30 seconds and 20 times a day; `WithoutForcedRenewal` switches that off.",
		warm:  true,
		faults: []fault{{
			name: "40001", inject: testutil.RespondInstead(testutil.RespondCode(40001)),
			text: "Where it lasts, another program may be using `force_refresh` all the time. Find it. From `ClearQuotaByAppSecret`, which sends the secret, 40001 means that the secret is wrong.",
		}},
		want: []row{
			{of: apis, always: outcome{"Error ErrInvalidToken", 2, 2}, once: ok(2, 2)},
			{of: []kind{clearBySecret}, always: outcome{"Error ErrCredential", 1, 0}, once: outcome{"Error ErrCredential", 1, 0}},
		},
	},
	{
		title: "The token is revoked while an answer is lost",
		text:  "The platform carried the call out, the answer was lost, and the token of the repeat is refused.",
		warm:  true,
		faults: []fault{{
			name: "reset, and revoked", inject: applyThenRevoke,
			text: "The call heals as it does from each of the two faults alone.",
		}},
		want: []row{
			{of: []kind{reads, writes, deleteTags}, applied: wasApplied, once: ok(3, 1)},
			{of: []kind{createTags}, applied: wasApplied, once: ok(4, 1)},
			{of: []kind{clearQuotas, clearBySecret}, applied: wasApplied, once: outcome{noResponse + ambiguous, 1, 0}},
		},
	},
	{
		title: "The token is revoked after the answer",
		text:  "The call is done. The next one finds a dead token, and heals.",
		warm:  true,
		faults: []fault{{
			name: "revoked after the call", inject: revokeAfter,
			text: "Nothing is seen of it.",
		}},
		want: []row{
			{of: append(slices.Clone(apis), clearBySecret), once: ok(1, 0)},
		},
	},
	{
		title:   "No token, for a while",
		text:    "A new client asks for a token, and the call can't be sent without. The error names getStableAccessToken.",
		onToken: true,
		faults: []fault{
			{name: "token endpoint refused", result: noResponse, inject: testutil.RespondInstead(testutil.Fail(testutil.ErrRefused)), text: "Nobody listens there. A client that has a token goes on with it to its end."},
			{name: "token endpoint reset", result: noResponse, inject: testutil.RespondInstead(testutil.Fail(testutil.ErrReset)), text: "No answer. Asking again does no harm: stable tokens are the same until they end."},
			{name: "token endpoint hangs", result: noResponse, inject: testutil.RespondInstead(testutil.Hang), text: "No answer in time. Callers wait no longer than their own contexts."},
			{name: "token endpoint 502", result: notAResponse, inject: testutil.RespondInstead(testutil.Respond(502, "<html>Bad Gateway</html>")), text: "A gateway answers in its place."},
			{name: "token endpoint busy", result: busyResponse, inject: testutil.RespondInstead(testutil.RespondCode(-1)), text: "System busy."},
			{name: "answer without a token", result: notAResponse, inject: testutil.RespondInstead(testutil.RespondJSON(`{"expires_in":7200}`)), text: "Not the platform's answer. The error shows nothing of it, since a part of a token may be in there."},
			{name: "token without a lifetime", result: notAResponse, inject: testutil.RespondInstead(testutil.RespondJSON(`{"access_token":"FAKE","expires_in":0}`)), text: "A token that has ended already is none."},
		},
		want: []row{
			{of: apis, always: outcome{"", 0, 3}, once: ok(1, 2)},
			{of: []kind{clearBySecret}, always: ok(1, 0), once: ok(1, 0)},
		},
	},
	{
		title:   "No token, for good",
		text:    "Asking again is of no use until a person has acted. The answer is remembered for 1 s, then 2 s, up to a minute, and calls get it at once.",
		onToken: true,
		faults: []fault{
			{name: "wrong secret", result: "Error ErrCredential", inject: testutil.RespondInstead(testutil.RespondCode(40125)), text: "Check the app secret. The console can reset it."},
			{name: "wrong secret, as 40001", result: "Error ErrCredential", inject: testutil.RespondInstead(testutil.RespondCode(40001)), text: "From the token endpoint 40001 means the secret, not the token."},
			{name: "IP address not in the whitelist", result: "Error ErrCredential ErrPermission", inject: testutil.RespondInstead(testutil.RespondCode(40164)), text: "Add the address, which is in the message, in the console."},
			{name: "secret frozen", result: "Error ErrCredential", inject: testutil.RespondInstead(testutil.RespondCode(40243)), text: "Unfreeze it in the console."},
			{name: "token quota used up", result: "Error ErrRateLimited", inject: testutil.RespondInstead(testutil.RespondCode(45009)), text: "`ClearQuotaByAppSecret` needs no token."},
		},
		want: []row{
			{of: apis, always: outcome{"", 0, 1}, once: outcome{"", 0, 1}},
			{of: []kind{clearBySecret}, always: ok(1, 0), once: ok(1, 0)},
		},
	},
	{
		title:   "A slow token",
		text:    "One request, however many calls wait for it.",
		onToken: true,
		faults: []fault{{
			name: "token after 5 s", inject: slowly(5 * time.Second),
			text: "Calls on a new client wait for it, no longer than their own contexts. Later ones don't: a token is renewed in the background.",
		}},
		want: []row{
			{of: apis, always: ok(1, 1), once: ok(1, 1)},
			{of: []kind{clearBySecret}, always: ok(1, 0), once: ok(1, 0)},
		},
	},
}

// noSuchHost resolves the host with a DNS server that knows no name.
func noSuchHost(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.CleanUp = append(s.CleanUp, func() { server.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			if n > 3 {
				buf[2] |= 0x80              // a response
				buf[3] = buf[3]&0xf0 | 0x03 // no such name
				_, _ = server.WriteTo(buf[:n], from)
			}
		}
	}()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	return s.SendTo(req, "", "", &http.Transport{DialContext: (&net.Dialer{Resolver: resolver}).DialContext})
}

// refusedConnection dials a port that nobody listens on.
func refusedConnection(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ln.Close()
	return s.SendTo(req, "http", ln.Addr().String(), &http.Transport{})
}

func unknownCertificate(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = testutil.DiscardLog
	srv.StartTLS()
	s.CleanUp = append(s.CleanUp, srv.Close)
	return s.SendTo(req, "https", srv.Listener.Addr().String(), &http.Transport{})
}

func cutHandshake(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
	return s.OverTCP(req, "https", func(conn *net.TCPConn) error {
		_, err := conn.Read(make([]byte, 1))
		return err
	})
}

// httpOK returns the header of a response.
func httpOK(headers ...string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

// resetInTheBody resets after the client has read the first half: a reset discards what is unread.
func resetInTheBody(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
	halfRead := make(chan struct{})
	defer close(halfRead)
	k := testutil.Socket{Response: httpOK("Content-Length: 27") + testutil.OKBody[:5], Reset: true, Until: halfRead}
	resp, err := k.Inject(s, req)
	if err != nil {
		return nil, err
	}
	half := make([]byte, 5)
	_, err = io.ReadFull(resp.Body, half)
	resp.Body = readCloser{io.MultiReader(bytes.NewReader(half), resp.Body), resp.Body}
	return resp, err
}

type readCloser struct {
	io.Reader
	io.Closer
}

// slowBody replies with a response whose end never arrives.
func slowBody(req *http.Request) (*http.Response, error) {
	resp, err := testutil.RespondJSON(testutil.OKBody)(req)
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(testutil.OKBody[:9]), testutil.HangingReader{Ctx: req.Context()}))
	return resp, err
}

func redirect(status int) testutil.Reply {
	return testutil.Respond(status, "", "Location", "https://example.com/")
}

// zeros returns more bytes than any response may have.
func zeros() io.Reader { return io.LimitReader(zeroReader{}, 16<<20+1) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func oversize(req *http.Request) (*http.Response, error) {
	resp, err := testutil.RespondJSON("")(req)
	resp.Body, resp.ContentLength = io.NopCloser(zeros()), -1
	return resp, err
}

func zipped(r io.Reader) string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	_, err := io.Copy(w, r)
	if err = errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	return b.String()
}

var bomb = sync.OnceValue(func() string { return zipped(zeros()) })

func gzipBomb(req *http.Request) (*http.Response, error) {
	return testutil.Respond(200, bomb(), "Content-Encoding", "gzip")(req)
}

// revokeBefore revokes the token just before the request arrives.
func revokeBefore(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
	s.Server.ExpireTokens()
	return testutil.AlterResponse(testutil.RespondJSON)(s, req)
}

func expireBefore(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
	s.Server.Advance(3 * time.Hour)
	return testutil.AlterResponse(testutil.RespondJSON)(s, req)
}

func applyThenRevoke(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
	if _, err := s.Apply(req); err != nil {
		return nil, err
	}
	s.Server.ExpireTokens()
	return nil, testutil.ErrReset
}

func revokeAfter(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
	body, err := s.Apply(req)
	if err != nil {
		return nil, err
	}
	s.Server.ExpireTokens()
	return testutil.RespondJSON(body)(req)
}

func slowly(d time.Duration) testutil.Injector {
	return func(s *testutil.Fixture, req *http.Request) (*http.Response, error) {
		time.Sleep(d)
		return testutil.AlterResponse(testutil.RespondJSON)(s, req)
	}
}

// matrixCalls are the calls of the matrix, one for each row of the endpoint table.
func matrixCalls(t *testing.T) map[kind][]testutil.APICall {
	t.Helper()
	calls := make(map[kind][]testutil.APICall)
	for _, call := range testutil.APICalls {
		k := kindOf(call)
		if !slices.ContainsFunc(calls[k], func(a testutil.APICall) bool { return a.API == call.API }) {
			calls[k] = append(calls[k], call)
		}
	}
	require.ElementsMatch(t, kinds, slices.Collect(maps.Keys(calls)))
	return calls
}

const theDocument = moduleRoot + "/docs/faults.md"

// TestFaults measures each fault with each endpoint, and checks that the document is up to date.
func TestFaults(t *testing.T) {
	t.Parallel()
	calls := matrixCalls(t)
	undisturbed := make(map[string]baseline)
	for _, some := range calls {
		for _, call := range some {
			undisturbed[call.Name] = withoutFault(t, call)
		}
	}
	for _, fam := range faultTable {
		for _, r := range fam.want {
			for _, k := range r.of {
				for i, call := range calls[k] {
					for _, f := range fam.faults {
						if f.large && i > 0 && (testutil.RaceEnabled || !testutil.Full()) {
							continue // it costs much memory, and the code is the same for all calls of a kind
						}
						t.Run(strings.Join([]string{fam.title, f.name, call.Name}, "/"), func(t *testing.T) {
							if f.real {
								fam.check(t, f, r, call, undisturbed[call.Name])
							} else {
								synctest.Test(t, func(t *testing.T) { fam.check(t, f, r, call, undisturbed[call.Name]) })
							}
						})
					}
				}
			}
		}
		covered := make(map[kind][]applied)
		for _, r := range fam.want {
			for _, k := range r.of {
				covered[k] = append(covered[k], r.applied)
			}
		}
		for k, dids := range covered {
			assert.True(t, len(dids) == 1 || slices.Equal(dids, []applied{notApplied, wasApplied}), "%s: %s has more than one row", fam.title, k)
		}
		for _, k := range slices.Concat(apis, []kind{clearBySecret}) {
			assert.Contains(t, covered, k, "%s: no row", fam.title)
		}
		if !fam.warm && !fam.onToken {
			assert.Len(t, covered, len(kinds), "%s: all calls have a row", fam.title)
		}
	}
	document := faultsDocument(calls)
	if *update {
		require.NoError(t, os.WriteFile(theDocument, []byte(document), 0o644))
	}
	there, err := os.ReadFile(theDocument)
	require.NoError(t, err)
	assert.Equal(t, document, string(there), "out of date: go test ./test -run TestFaults -update")
}

// baseline is the account before and after a call without a fault, and the result of the call.
type baseline struct {
	before, after testutil.AccountState
	got           any
}

func withoutFault(t *testing.T, call testutil.APICall) (v baseline) {
	synctest.Test(t, func(t *testing.T) {
		s := testutil.NewFixture(t, call)
		v.before = s.State(t)
		got, err := s.Call.Do(t.Context(), s.Client)
		require.NoError(t, err, call.Name)
		v.got, v.after = got, s.State(t)
		require.Equal(t, call.Write, !assert.ObjectsAreEqual(v.before, v.after), "%s changes the account", call.Name)
	})
	return v
}

// check measures the cells of a row with one call and one fault.
func (fam *family) check(t *testing.T, f fault, r row, call testutil.APICall, v baseline) {
	variants := []bool{r.applied == wasApplied}
	if fam.ambiguous && r.applied == maybeApplied && call.Write {
		if variants = []bool{true}; !f.large { // the case in which it was applied is the harder one
			variants = []bool{false, true}
		}
	}
	for _, carried := range variants {
		if r.always.measured() {
			fam.measure(t, f, r.always, call, v, carried, -1)
		}
		if r.once.measured() && (r.once != r.always || call.Name == "GetTags") {
			fam.measure(t, f, r.once, call, v, carried, 1)
		}
	}
}

func (fam *family) measure(t *testing.T, f fault, want outcome, call testutil.APICall, v baseline, carried bool, times int) {
	t.Helper()
	var opts []wechatuser.Option
	if f.real {
		opts = append(opts, wechatuser.WithRetry(wechatuser.RetryPolicy{MinDelay: 1, MaxDelay: 1}))
	}
	s := testutil.NewFixture(t, call, opts...)
	if fam.warm {
		_, err := s.Client.Token(t.Context())
		require.NoError(t, err)
		s.TokenRequests = 0
	}
	if fam.onToken {
		s.Path = testutil.PathStableToken
	}
	s.Inject, s.Times, s.ApplyFirst = f.inject, times, carried
	start := time.Now()
	got, err := s.Call.Do(t.Context(), s.Client)
	s.Close()

	want = want.with(f)
	assert.Equal(t, want, outcome{testutil.Describe(err), s.Calls, s.TokenRequests}, "carried out: %t, times: %d, error: %v", carried, times, err)
	assert.GreaterOrEqual(t, time.Since(start), time.Duration(s.Injected-1)*f.least)
	switch {
	case err != nil:
		assert.Empty(t, got)
		assert.NotContains(t, err.Error(), s.Server.AccessToken())
		assertClean(t, err.Error())
	case call.IsTokenCall():
		assert.NotEmpty(t, got)
	default:
		assert.Equal(t, v.got, got)
	}
	left := v.before
	if err == nil || s.Applied > 0 {
		left = v.after
	}
	assert.Equal(t, left, s.State(t), "the account")

	// The next call works.
	s.StopFaults()
	if !f.real {
		time.Sleep(time.Minute)
	}
	require.NoError(t, testutil.GetTags(t.Context(), s.Client), "the next call")
}

// with adds what the family leaves to the fault.
func (o outcome) with(f fault) outcome {
	if o.result == "" || o.result == ambiguous {
		o.result = f.result + o.result
	}
	return o
}

// One call of each kind returns each code of the catalogue as it is, and retries only what the matrix says.
func TestFaultsOfAllCodes(t *testing.T) {
	repeated := []wechatuser.Code{-1, 268487001, 268487002, 45169}
	for k, calls := range matrixCalls(t) {
		for _, code := range wechatuser.Codes() {
			if slices.Contains(repeated, code) || errors.Is(code, wechatuser.ErrInvalidToken) {
				continue
			}
			t.Run(fmt.Sprint(k, "/", int(code)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := testutil.NewFixture(t, calls[0])
					s.Inject, s.Times = testutil.RespondInstead(testutil.RespondCode(code)), -1
					before := s.State(t)
					got, err := s.Call.Do(t.Context(), s.Client)
					require.ErrorIs(t, err, code)
					assert.Empty(t, got)
					assert.Equal(t, strings.Replace(testutil.Describe(code), "wechatuser.Code", "Error", 1), testutil.Describe(err))
					assert.Equal(t, 1, s.Injected)
					assert.Equal(t, before, s.State(t))
				})
			})
		}
	}
}

func faultsDocument(calls map[kind][]testutil.APICall) string {
	var b strings.Builder
	b.WriteString(`# What goes wrong, and what comes of it

Each fault below was made to happen to each endpoint, with the account in memory of package wechatusertest behind it. The
tables say what the call gave, how many requests it sent, and what was left in the account. ` + "`go test ./test -run TestFaults`" + `
measures them, and fails if this page says something else.

- **Always** is a fault that strikes each request, with the default of 3 attempts. **Once** is one that strikes the first.
- The result is ` + "`ok`" + `, which is always the whole and right answer, or the type of the error and the classes that
  ` + "`errors.Is`" + ` finds in it.
- The numbers are the requests that were tried, those for the API + those for a token. A client is new, and needs one
  token request, unless the text says that it has a token.
- A write that is ` + "`ok`" + ` is applied. One with an error left the account *as it was* or *applied*; both, where the platform
  may have carried the request out before the fault, and both was measured. No effect is ever there twice.
- After each fault the next call succeeds.

| calls | endpoints | after an unclear outcome |
|---|---|---|
`)
	after := map[kind]string{
		reads:         "repeated",
		writes:        "repeated: twice has the same effect as once",
		createTags:    "repeated, and looked up by its name where a doubt is left",
		deleteTags:    "repeated, and looked up where a doubt is left; no such tag is a success then",
		clearQuotas:   "never repeated: the platform counts each",
		clearBySecret: "never repeated; needs no token",
		tokenCalls:    "repeated",
		forcedTokens:  "never repeated: the platform counts each",
	}
	for _, k := range kinds {
		var names []string
		for _, call := range calls[k] {
			names = append(names, call.API)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", k, strings.Join(names, ", "), after[k])
	}
	for _, fam := range faultTable {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", fam.title, fam.text)
		for _, f := range fam.faults {
			fmt.Fprintf(&b, "- **%s**", f.name)
			if f.result != "" {
				fmt.Fprintf(&b, " (%s)", code(f.result))
			}
			fmt.Fprintf(&b, ": %s\n", f.text)
		}
		b.WriteString("\n| calls | always | once |\n|---|---|---|\n")
		for _, r := range fam.want {
			var of []string
			for _, k := range r.of {
				of = append(of, string(k))
			}
			who := strings.Join(of, ", ")
			switch {
			case fam.ambiguous && r.applied == notApplied:
				who += ", not carried out"
			case fam.ambiguous && r.applied == wasApplied:
				who += ", carried out"
			}
			once := fam.cell(r, r.once)
			if r.once == r.always {
				once = "the same"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", who, fam.cell(r, r.always), once)
		}
	}
	return b.String()
}

// cell formats an outcome for the document.
func (fam *family) cell(r row, o outcome) string {
	if !o.measured() {
		return ""
	}
	result := code(o.result)
	switch o.result {
	case "":
		result = "the error above"
	case ambiguous:
		result = "the error above, " + code(ambiguous)
	}
	cell := fmt.Sprintf("%s, %d + %d", result, o.calls, o.tokens)
	isWrite := slices.ContainsFunc(r.of, func(k kind) bool { return k != reads && k != tokenCalls && k != forcedTokens })
	switch {
	case !isWrite || o.result == "ok":
	case r.applied == wasApplied:
		cell += ", applied"
	case fam.ambiguous && r.applied == maybeApplied:
		cell += ", as it was or applied"
	default:
		cell += ", as it was"
	}
	return cell
}

// code formats each word as code.
func code(words string) string { return "`" + strings.Join(strings.Fields(words), "` `") + "`" }
