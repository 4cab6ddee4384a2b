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
	"regexp"
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
	"github.com/wechatuser/wechatuser/wechatusertest"
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
	// "ok", or the type of the error and its classes; without a type, appended to those of the fault
	result        string
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
		{of: []kind{deleteTags}, applied: wasApplied, always: ok(4, 1), once: ok(3, 1)},
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
		title: "The platform is unreachable",
		text: "Nothing was sent, so that every call may be retried. With more than one host the next one is tried " +
			"at once.",
		faults: []fault{
			{
				name: "DNS failure", real: true, inject: noSuchHost,
				text: "The platform's host name cannot be resolved. Check the resolver, and whether the network " +
					"allows DNS.",
			},
			{
				name: "connection refused", real: true, inject: refusedConnection,
				text: "No server listens at the address. Check the proxy and the address given to `WithBaseURL`.",
			},
			{
				name: "unknown certificate", real: true, inject: unknownCertificate,
				text: "The TLS handshake failed: another server responds, often a proxy that inspects traffic. Add " +
					"its certificate to the transport, or bypass the proxy.",
			},
			{
				name: "TLS handshake aborted", real: true, inject: cutHandshake,
				text: "The connection was closed during the TLS handshake. Firewalls that filter by host name do that.",
			},
		},
		want: []row{
			{of: apis, always: outcome{noResponse, 3, 1}, once: ok(2, 1)},
			{of: []kind{clearBySecret}, always: outcome{noResponse, 3, 0}, once: ok(2, 0)},
			{of: []kind{tokenCalls, forcedTokens}, always: outcome{noResponse, 0, 3}, once: ok(0, 2)},
		},
	},
	{
		title: "Sent, no response",
		text: "The platform may have applied the request. Calls that have the same effect twice as once are " +
			"retried; tags are looked up.",
		ambiguous: true,
		faults: []fault{
			{
				name: "reset", real: true, inject: testutil.Socket{Reset: true}.Inject,
				text: "The connection was reset after the request was read. An error that matches `ErrAmbiguous` " +
					"says that a write may have been applied: read the state, or retry the call.",
			},
			{
				name: "closed", real: true, inject: testutil.Socket{}.Inject,
				text: "The connection was closed without a response, as when a proxy restarts. As above.",
			},
			{
				name: "timeout before the response", inject: testutil.RespondInstead(testutil.Hang),
				text: "Nothing arrived within the timeout of an attempt, 10 s unless set by `WithTimeout`; " +
					"`errors.Is(err, context.DeadlineExceeded)` is true. Give the call's context more time than all " +
					"attempts need, or less to end it early.",
			},
			{
				name: "timeout in the body", inject: testutil.RespondInstead(slowBody),
				text: "The response started, and did not end within the timeout. As above.",
			},
		},
		want: unclear(noResponse),
	},
	{
		title: "Reset before the request was read",
		text:  "The client cannot know that the platform has not seen the request, so it treats this as above.",
		faults: []fault{{
			name: "reset at once", real: true, inject: testutil.Socket{Reset: true, Unread: true}.Inject,
			text: "The connection was reset at the first byte. `ErrAmbiguous` is more cautious than necessary here.",
		}},
		want: slices.DeleteFunc(unclear(noResponse), func(r row) bool { return r.applied == wasApplied }),
	},
	{
		title: "Not a response of the platform",
		text: "Something between the client and the platform has responded. The error shows the status, the " +
			"Content-Type " +
			"and the first 200 characters of the body; of a token request, the length and the title of the body.",
		ambiguous: true,
		faults: []fault{
			{
				name: "HTML with status 200",
				inject: testutil.RespondInstead(testutil.Respond(200, "<html>Please log in</html>", "Content-Type",
					"text/html")),
				text: "A login page of a network or a proxy. Look at `Snippet`.",
			},
			{
				name: "HTML with status 502",
				inject: testutil.RespondInstead(testutil.Respond(502, "<html>Bad Gateway</html>", "Content-Type",
					"text/html")),
				text: "A gateway could not reach its backend. Wait, and check the platform's announcements if it " +
					"persists.",
			},
			{
				name: "503 with Retry-After", least: 30 * time.Second,
				inject: testutil.RespondInstead(testutil.Respond(503, "", "Retry-After", "30")),
				text: "The retries wait for as long as the server asks, up to a minute. `RetryAfter` of the error " +
					"has the time.",
			},
			{
				name: "empty body", inject: testutil.RespondInstead(testutil.Respond(200, "")),
				text: "A response without a body is not the platform's.",
			},
			{
				name: "null", inject: testutil.RespondInstead(testutil.RespondJSON("null")),
				text: "Valid JSON, but not the platform's. It never becomes a zero value with a nil error.",
			},
			{
				name: "truncated body", real: true,
				inject: testutil.Socket{Response: httpOK("Content-Length: 23") + `{"errcode":0,`}.Inject,
				text:   "The connection was closed in the middle of the response.",
			},
			{
				name: "reset in the body", real: true, inject: resetInTheBody,
				text: "The connection was reset in the middle of the response.",
			},
			{
				name: "Content-Length too small", real: true,
				inject: testutil.Socket{Response: httpOK("Content-Length: 10") + testutil.OKBody}.Inject,
				text: "The response is longer than announced, and what is read is not valid JSON. Look for a proxy " +
					"that modifies responses.",
			},
			{
				name: "Content-Length too large", real: true,
				inject: testutil.Socket{Response: httpOK("Content-Length: 99") + testutil.OKBody}.Inject,
				text:   "The response is shorter than announced. It may or may not be complete, and is not accepted.",
			},
			{
				name: "invalid gzip", real: true,
				inject: testutil.Socket{
					Response: httpOK("Content-Encoding: gzip", "Content-Length: 27") + testutil.OKBody,
				}.Inject,
				text: "The header says gzip, but the body is something else. Look for a proxy that modifies responses.",
			},
		},
		want: unclear(notAResponse),
	},
	{
		title:     "A response that a retry would not change",
		text:      "The call is not retried, since the next response would be the same or too late.",
		ambiguous: true,
		faults: []fault{
			{
				name: "body of more than 16 MiB", inject: testutil.RespondInstead(oversize), large: true,
				result: "ResponseError",
				text:   "The largest page of the platform is less than a fiftieth of that. The rest is not read.",
			},
			{
				name: "gzip bomb", inject: testutil.RespondInstead(gzipBomb), large: true, result: "ResponseError",
				text: "16 KiB that decompress to more than 16 MiB. No more than that is decompressed.",
			},
			{
				name:   "503 with a long Retry-After",
				inject: testutil.RespondInstead(testutil.Respond(503, "", "Retry-After", "120")), result: notAResponse,
				text: "The server asked for more than a minute. Retry the call after `RetryAfter`.",
			},
			{
				name:   "a value that cannot be read",
				inject: testutil.RespondInstead(testutil.RespondJSON(`{"errcode":{"a":1}}`)), result: "ResponseError",
				text: "A list in place of a number, for example. The error names the field.",
			},
		},
		want: givenUp(""),
	},
	{
		title: "Too many requests",
		text:  "Status 429 comes from a gateway, which has not passed the request on.",
		faults: []fault{{
			name: "429", inject: testutil.RespondInstead(testutil.Respond(429, "", "Retry-After", "5")),
			least: 5 * time.Second,
			text:  "Send fewer calls: `WithLimiter`, `WithConcurrency`.",
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
		title: "Redirected or forbidden",
		text: "This is configured somewhere, so that a retry would not help. Redirects are not followed: they would " +
			"send the token or the secret to another host.",
		faults: []fault{
			{
				name: "301", inject: testutil.RespondInstead(redirect(301)),
				text: "Moved permanently. Check the address given to `WithBaseURL`, and the proxy.",
			},
			{name: "302", inject: testutil.RespondInstead(redirect(302)), text: "Often the login page of a network."},
			{name: "303", inject: testutil.RespondInstead(redirect(303)), text: "As above."},
			{name: "307", inject: testutil.RespondInstead(redirect(307)), text: "As 302, but with the body."},
			{name: "308", inject: testutil.RespondInstead(redirect(308)), text: "As 301, but with the body."},
			{
				name: "403", inject: testutil.RespondInstead(testutil.Respond(403, "<html>Forbidden</html>")),
				text: "A proxy or a firewall forbids it. The platform itself responds with an errcode and status 200.",
			},
		},
		want: final("ResponseError"),
	},
	{
		title: "Unusual responses that are accepted",
		text:  "The platform, or something in front of it, sends such responses. They have one sensible reading.",
		faults: []fault{
			{
				name: "control characters", inject: testutil.AlterResponse(func(body string) testutil.Reply {
					return testutil.RespondJSON(`{"errmsg":"a` + "\x01\t\n" + `b",` + body[1:])
				}),
				text: "Text typed into the console can contain characters that JSON forbids. They are kept.",
			},
			{
				name: "invalid UTF-8", inject: testutil.AlterResponse(func(body string) testutil.Reply {
					return testutil.RespondJSON(`{"errmsg":"` + "\xff\xc3" + `",` + body[1:])
				}),
				text: "Invalid bytes become U+FFFD, and the rest is kept.",
			},
			{
				name: "values of another type", inject: testutil.AlterResponse(func(body string) testutil.Reply {
					body = regexp.MustCompile(`([^\\]":)(\d+)`).ReplaceAllString(body, `$1"$2"`) // not in a quoted request
					return testutil.RespondJSON(strings.ReplaceAll(strings.ReplaceAll(body, `:""`, `:null`), `:[]`,
						`:""`))
				}),
				text: "Numbers in quotes, and `null`, `\"\"`, `[]` or `{}` for nothing. The values are read as " +
					"intended.",
			},
			{
				name: "another Content-Type", inject: testutil.AlterResponse(func(body string) testutil.Reply {
					return testutil.Respond(200, body, "Content-Type", "text/plain")
				}),
				text: "The body is decoded whatever the header says.",
			},
			{
				name: "gzip", inject: testutil.AlterResponse(func(body string) testutil.Reply {
					return testutil.Respond(200, zipped(strings.NewReader(body)), "Content-Encoding", "gzip")
				}),
				text: "A compressed response is decompressed, even if the transport does not do so.",
			},
		},
		want: []row{
			{of: apis, always: ok(1, 1)},
			{of: []kind{clearBySecret}, always: ok(1, 0)},
			{of: []kind{tokenCalls, forcedTokens}, always: ok(0, 1)},
		},
	},
	{
		title: "Busy",
		text: "The platform returns an errcode that means \"try again\", and does not tell whether it has " +
			"applied the request.",
		ambiguous: true,
		faults: []fault{
			{
				name: "-1", inject: testutil.RespondInstead(testutil.RespondCode(-1)),
				text: "System busy. After three attempts, wait some seconds and retry the call.",
			},
			{
				name: "268487001", inject: testutil.RespondInstead(testutil.RespondCode(268487001)),
				text: "As -1; from batchBlacklist.",
			},
			{
				name: "268487002", inject: testutil.RespondInstead(testutil.RespondCode(268487002)),
				text: "As -1; from getFans.",
			},
		},
		want: unclear(busyResponse),
	},
	{
		title: "Busy with this user",
		text:  "Not applied, so that every call may be retried.",
		faults: []fault{{
			name: "45169", inject: testutil.RespondInstead(testutil.RespondCode(45169)),
			text: "Two calls tag the same follower at the same time. Let one program do it; a bulk job never does " +
				"that.",
		}},
		want: []row{
			{of: apis, always: outcome{busyResponse, 3, 1}, once: ok(2, 1)},
			{of: []kind{clearBySecret}, always: outcome{busyResponse, 3, 0}, once: ok(2, 0)},
			{of: []kind{tokenCalls, forcedTokens}, always: outcome{busyResponse, 0, 3}, once: ok(0, 2)},
		},
	},
	{
		title: "Rejected",
		text: "The platform has not applied the call, and a retry would not help. One errcode stands for its class " +
			"here; `Remedy` of a code says what to do.",
		faults: []fault{
			{
				name: "45011", result: "Error ErrRateLimited ErrTemporary",
				inject: testutil.RespondInstead(testutil.RespondCode(45011)),
				text:   "The quota of the minute is exhausted. Retry in the next minute; a bulk job does so by itself.",
			},
			{
				name: "45009", result: "Error ErrRateLimited",
				inject: testutil.RespondInstead(testutil.RespondCode(45009)),
				text:   "The quota of the day is exhausted. Wait for the next day, or see `ClearQuota`.",
			},
			{
				name: "48001 with status 403", result: "Error ErrPermission",
				inject: testutil.RespondInstead(testutil.Respond(403, `{"errcode":48001,"errmsg":"api unauthorized"}`)),
				text:   "As 48001: an errcode counts whatever the HTTP status.",
			},
			{
				name: "48001", result: "Error ErrPermission",
				inject: testutil.RespondInstead(testutil.RespondCode(48001)),
				text:   "The account has no permission for this API.",
			},
			{
				name: "40164", result: "Error ErrCredential ErrPermission",
				inject: testutil.RespondInstead(testutil.RespondCode(40164)),
				text:   "The caller's IP address is not in the account's whitelist. The message contains it.",
			},
			{
				name: "40003", result: "Error ErrInvalidArgument",
				inject: testutil.RespondInstead(testutil.RespondCode(40003)),
				text: "An openid of another account, or not an openid. A bulk job reports it and continues with " +
					"the others.",
			},
			{
				name: "43004", result: "Error ErrNotFollowing",
				inject: testutil.RespondInstead(testutil.RespondCode(43004)),
				text:   "The user does not follow the account. Skip the user.",
			},
			{
				name: "45159", result: "Error ErrInvalidArgument",
				inject: testutil.RespondInstead(testutil.RespondCode(45159)), text: "There is no such tag.",
			},
			{
				name: "unknown code", result: "Error", inject: testutil.RespondInstead(testutil.RespondCode(12345)),
				text: "It is returned as it is: `e.Code`, `e.Message`, `e.RID`.",
			},
		},
		want: final(""),
	},
	{
		title: "The token is rejected",
		text: "The client has a token, and the platform rejects it. The client fetches another one and retries the " +
			"call once, even a call that is never retried otherwise: with a rejected token nothing was applied.",
		warm: true,
		faults: []fault{
			{
				name: "revoked before the call", inject: revokeBefore,
				text: "Another program has refreshed it. If that happens often, share the token: `WithTokenStore`, " +
					"`WithTokenSource`.",
			},
			{
				name: "expired early", inject: expireBefore,
				text: "The token expired before its announced lifetime (42001). No action is needed.",
			},
		},
		want: []row{
			{of: apis, always: outcome{"Error ErrInvalidToken", 2, 1}, once: ok(2, 1)},
			{of: []kind{clearBySecret}, always: ok(1, 0), once: ok(1, 0)},
		},
	},
	{
		title: "The rejected token is issued again",
		text: "The token endpoint still issues a token that the other endpoints reject. The client forces a " +
			"refresh, at most once in 30 seconds and 20 times a day; `WithoutForcedRenewal` disables that.",
		warm: true,
		faults: []fault{{
			name: "40001", inject: testutil.RespondInstead(testutil.RespondCode(40001)),
			text: "If it persists, look for another program that uses `force_refresh` all the time. From " +
				"`ClearQuotaByAppSecret`, which sends the secret, 40001 means that the secret is wrong.",
		}, {
			name:   "40001 with status 401",
			inject: testutil.RespondInstead(testutil.Respond(401, `{"errcode":40001,"errmsg":"invalid credential"}`)),
			text:   "As 40001: an errcode counts whatever the HTTP status.",
		}},
		want: []row{
			{of: apis, always: outcome{"Error ErrInvalidToken", 2, 2}, once: ok(2, 2)},
			{
				of: []kind{clearBySecret}, always: outcome{"Error ErrCredential", 1, 0},
				once: outcome{"Error ErrCredential", 1, 0},
			},
		},
	},
	{
		title: "The token is revoked while a response is lost",
		text:  "The platform has applied the call, the response was lost, and the token of the retry is rejected.",
		warm:  true,
		faults: []fault{{
			name: "reset and revoked", inject: applyThenRevoke,
			text: "The call recovers as it does from each fault alone.",
		}},
		want: []row{
			{of: []kind{reads, writes}, applied: wasApplied, once: ok(3, 1)},
			{of: []kind{createTags, deleteTags}, applied: wasApplied, once: ok(4, 1)},
			{of: []kind{clearQuotas, clearBySecret}, applied: wasApplied, once: outcome{noResponse + ambiguous, 1, 0}},
		},
	},
	{
		title: "The token is revoked after the response",
		text:  "The call succeeds. The token of the next one is rejected, and replaced.",
		warm:  true,
		faults: []fault{{
			name: "revoked after the call", inject: revokeAfter,
			text: "No error is returned.",
		}},
		want: []row{
			{of: append(slices.Clone(apis), clearBySecret), once: ok(1, 0)},
		},
	},
	{
		title:   "No token for now",
		text:    "A new client has to fetch a token before the call. The error names getStableAccessToken.",
		onToken: true,
		faults: []fault{
			{
				name: "token endpoint down", result: noResponse,
				inject: testutil.RespondInstead(testutil.Fail(testutil.ErrRefused)),
				text:   "No server listens there. A client that has a token uses it until it expires.",
			},
			{
				name: "token endpoint reset", result: noResponse,
				inject: testutil.RespondInstead(testutil.Fail(testutil.ErrReset)),
				text:   "No response. A retry does no harm: a stable token stays the same until it expires.",
			},
			{
				name: "token endpoint hangs", result: noResponse, inject: testutil.RespondInstead(testutil.Hang),
				text: "No response in time. Callers wait no longer than their own contexts.",
			},
			{
				name: "token endpoint 502", result: notAResponse,
				inject: testutil.RespondInstead(testutil.Respond(502, "<html>Bad Gateway</html>")),
				text:   "A gateway responds in its place.",
			},
			{
				name: "token endpoint busy", result: busyResponse,
				inject: testutil.RespondInstead(testutil.RespondCode(-1)), text: "System busy.",
			},
			{
				name: "response without a token", result: notAResponse,
				inject: testutil.RespondInstead(testutil.RespondJSON(`{"expires_in":7200}`)),
				text: "Not a response of the platform. The error does not show it, since it may contain part of a " +
					"token.",
			},
			{
				name: "token without a lifetime", result: notAResponse,
				inject: testutil.RespondInstead(testutil.RespondJSON(`{"access_token":"FAKE","expires_in":0}`)),
				text:   "A token that has already expired is not accepted.",
			},
		},
		want: []row{
			{of: apis, always: outcome{"", 0, 3}, once: ok(1, 2)},
			{of: []kind{clearBySecret}, always: ok(1, 0), once: ok(1, 0)},
		},
	},
	{
		title: "No token until someone acts",
		text: "A retry does not help until a person has acted. The error is remembered for 1 s, then 2 s, up to a " +
			"minute; " +
			"meanwhile calls return it at once.",
		onToken: true,
		faults: []fault{
			{
				name: "wrong secret", result: "Error ErrCredential",
				inject: testutil.RespondInstead(testutil.RespondCode(40125)),
				text:   "Check the app secret. It can be reset in the console.",
			},
			{
				name: "wrong secret, as 40001", result: "Error ErrCredential",
				inject: testutil.RespondInstead(testutil.RespondCode(40001)),
				text:   "From the token endpoint 40001 means the secret, not the token.",
			},
			{
				name: "IP address not in the whitelist", result: "Error ErrCredential ErrPermission",
				inject: testutil.RespondInstead(testutil.RespondCode(40164)),
				text:   "Add the address, which is in the message, to the whitelist in the console.",
			},
			{
				name: "secret frozen", result: "Error ErrCredential",
				inject: testutil.RespondInstead(testutil.RespondCode(40243)), text: "Unfreeze it in the console.",
			},
			{
				name: "token quota exhausted", result: "Error ErrRateLimited",
				inject: testutil.RespondInstead(testutil.RespondCode(45009)),
				text:   "`ClearQuotaByAppSecret` needs no token.",
			},
		},
		want: []row{
			{of: apis, always: outcome{"", 0, 1}, once: outcome{"", 0, 1}},
			{of: []kind{clearBySecret}, always: ok(1, 0), once: ok(1, 0)},
		},
	},
	{
		title:   "A slow token",
		text:    "There is one token request, however many calls wait for it.",
		onToken: true,
		faults: []fault{{
			name: "token after 5 s", inject: slowly(5 * time.Second),
			text: "Calls on a new client wait for it, no longer than their own contexts. Later calls do not: tokens " +
				"are refreshed in the background.",
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
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(testutil.OKBody[:9]),
		testutil.HangingReader{Ctx: req.Context()}))
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
					for j, f := range fam.faults {
						if f.large && i > 0 && (testutil.RaceEnabled || !testutil.Full()) {
							continue // it costs much memory, and the code is the same for all calls of a kind
						}
						if i > 0 && (i+j)%5 != 0 && !testutil.Full() {
							continue // the first call of a kind takes every fault
						}
						t.Run(strings.Join([]string{fam.title, f.name, call.Name}, "/"), func(t *testing.T) {
							if f.real {
								fam.check(t, f, r, call, undisturbed[call.Name])
							} else {
								synctest.Test(t, func(t *testing.T) {
									fam.check(t, f, r, call, undisturbed[call.Name])
								})
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
			assert.True(t, len(dids) == 1 || slices.Equal(dids, []applied{notApplied, wasApplied}),
				"%s: %s has more than one row", fam.title, k)
		}
		for _, k := range slices.Concat(apis, []kind{clearBySecret}) {
			assert.Contains(t, covered, k, "%s: no row", fam.title)
		}
		if !fam.warm && !fam.onToken {
			assert.Len(t, covered, len(kinds), "%s: all calls have a row", fam.title)
		}
	}
	document := faultsDocument(calls) + profileFaults(t)
	if *update {
		require.NoError(t, os.WriteFile(theDocument, []byte(document), 0o644))
	}
	there, err := os.ReadFile(theDocument)
	require.NoError(t, err)
	assert.Equal(t, document, string(there), "out of date: go test ./test -run TestFaults -update")
}

// profileFaults measures what one openid or one profile does to those that are asked for together with it. It returns a
// section of the document.
func profileFaults(t *testing.T) string {
	t.Helper()
	nobody := wechatusertest.ForeignOpenID(0)
	everybody := func(_ *wechatusertest.Server, ids []string, _ int) []string { return ids }
	var b strings.Builder
	b.WriteString(`
## One profile of a hundred

One of 100 openids, at the position that costs most, belongs to nobody, or its profile is broken; or all 100 are
unusual. The table has the result of BatchUserInfo, and what BulkUserInfo returns, with its calls.
[Decision 17](decisions/0017-profiles-that-are-proven.md) says which profiles are proven.

| fault | BatchUserInfo | BulkUserInfo |
|---|---|---|
`)
	for _, f := range []struct {
		name   string
		quirks wechatusertest.Quirks
		alter  func(srv *wechatusertest.Server, openIDs []string, at int) []string
	}{
		{"everybody follows", wechatusertest.Strict(), everybody},
		{"one has left", wechatusertest.Strict(), func(srv *wechatusertest.Server, ids []string, at int) []string {
			srv.Unfollow(ids[at])
			return ids
		}},
		{
			"one belongs to nobody, and the platform says so (40003)", wechatusertest.Strict(),
			func(_ *wechatusertest.Server, ids []string, at int) []string {
				ids[at] = nobody
				return ids
			},
		},
		{
			"one belongs to nobody, and is left out",
			wechatusertest.Quirks{ShortBatch: true},
			func(_ *wechatusertest.Server, ids []string, at int) []string {
				ids[at] = nobody
				return ids
			},
		},
		{
			"one belongs to nobody, and the others are mixed up",
			wechatusertest.Quirks{MixedUnionIDs: true},
			func(_ *wechatusertest.Server, ids []string, at int) []string {
				ids[at] = nobody
				return ids
			},
		},
		{
			"one is broken JSON",
			wechatusertest.Quirks{RawQuotes: true},
			func(srv *wechatusertest.Server, ids []string, at int) []string {
				srv.AddUsers(wechatuser.UserInfo{OpenID: ids[at], UnionID: ids[at], Remark: `a"b`})
				return ids
			},
		},
		{"all have values of another type", wechatusertest.Quirks{OtherTypes: 1}, everybody},
		{"the platform takes 50 at most (40032)", wechatusertest.Quirks{MaxBatch: 50}, everybody},
	} {
		single, bulk := "", ""
		most := 0
		for at := range 100 {
			synctest.Test(t, func(t *testing.T) {
				f.quirks.Seed = uint64(at + 1)
				srv := wechatusertest.NewServer(wechatusertest.WithoutListener(), wechatusertest.WithQuirks(f.quirks))
				for _, id := range testutil.OpenIDs(100) {
					srv.AddUsers(wechatuser.UserInfo{OpenID: id, UnionID: id})
				}
				ids := f.alter(srv, testutil.OpenIDs(100), at)
				c := srv.Client()
				queries := make([]wechatuser.UserQuery, len(ids))
				for i, id := range ids {
					queries[i].OpenID = id
				}
				users, err := c.BatchUserInfo(t.Context(), queries)
				if outcome := code(testutil.Describe(err)); !strings.Contains(single, outcome) {
					single = strings.TrimPrefix(single+" or "+outcome, " or ")
				}
				for _, user := range users {
					assert.Contains(t, []string{user.OpenID, ""}, user.UnionID, f.name)
				}

				before := srv.Calls("*")
				rejected := 0
				for user, err := range c.BulkUserInfo(t.Context(), wechatuser.OpenIDs(ids...)) {
					var one *wechatuser.OpenIDError
					if errors.As(err, &one) {
						assert.Equal(t, ids[at], one.OpenID, f.name)
						rejected++
						continue
					}
					require.NoError(t, err, f.name)
					assert.Contains(t, []string{user.OpenID, ""}, user.UnionID, f.name)
				}
				most = max(most, srv.Calls("*")-before)
				bulk = fmt.Sprintf("%d profiles, %d `OpenIDError`", 100-rejected, rejected)
			})
		}
		calls := "1 call"
		if most > 1 {
			calls = fmt.Sprintf("at most %d calls", most)
		}
		fmt.Fprintf(&b, "| %s | %s | %s, %s |\n", f.name, single, bulk, calls)
	}
	return b.String()
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
	for _, applyFirst := range variants {
		if r.always.measured() {
			fam.measure(t, f, r.always, call, v, applyFirst, -1)
		}
		if r.once.measured() && (r.once != r.always || call.Name == "GetTags") {
			fam.measure(t, f, r.once, call, v, applyFirst, 1)
		}
	}
}

func (fam *family) measure(t *testing.T, f fault, want outcome, call testutil.APICall, v baseline, applyFirst bool,
	times int,
) {
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
	s.Inject, s.Times, s.ApplyFirst = f.inject, times, applyFirst
	start := time.Now()
	got, err := s.Call.Do(t.Context(), s.Client)
	s.Close()

	want = want.with(f)
	assert.Equal(t, want, outcome{testutil.Describe(err), s.Calls, s.TokenRequests},
		"applied first: %t, times: %d, error: %v", applyFirst, times, err)
	assert.GreaterOrEqual(t, time.Since(start), time.Duration(s.Injected-1)*f.least)
	switch {
	case err != nil:
		assert.Empty(t, got)
		assert.NotContains(t, err.Error(), s.Server.AccessToken())
		testutil.AssertClean(t, err.Error())
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
	retried := []wechatuser.Code{-1, 268487001, 268487002, 45169}
	for k, calls := range matrixCalls(t) {
		for _, code := range wechatuser.Codes() {
			if slices.Contains(retried, code) || errors.Is(code, wechatuser.ErrInvalidToken) {
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
					assert.Equal(t, strings.Replace(testutil.Describe(code), "wechatuser.Code", "Error", 1),
						testutil.Describe(err))
					assert.Equal(t, 1, s.Injected)
					assert.Equal(t, before, s.State(t))
				})
			})
		}
	}
}

func faultsDocument(calls map[kind][]testutil.APICall) string {
	var b strings.Builder
	b.WriteString(`# Faults and their outcomes

Each fault below was injected into calls of each endpoint, on a simulated account of package wechatusertest. The tables
show the result of the call, the number of its requests, and the state of the account. ` +
		"`go test ./test -run TestFaults`" + `
measures them, and fails if this page differs.

- **Always** is a fault on each request, with the default of 3 attempts. **Once** is a fault on the first request only.
- The result is ` + "`ok`" +
		`, which always means the complete and correct value, or the type of the error and the classes that
  ` + "`errors.Is`" + ` finds in it.
- The numbers are requests: those of the call + those for tokens. The client is new, and needs one token request, unless
  the text says that it has a token.
- A write that is ` + "`ok`" +
		` is applied. One with an error left the account *as it was* or *applied*. It says both if the
  platform may have applied the request before the fault; both cases were measured. Nothing is ever applied twice.
- After each fault the next call succeeds.

| calls | endpoints | after an unknown outcome |
|---|---|---|
`)
	after := map[kind]string{
		reads:         "retried",
		writes:        "retried: twice has the same effect as once",
		createTags:    "retried; if still unknown, the tag is looked up by name",
		deleteTags:    "retried; if still unknown, the tag is looked up, and no such tag is a success",
		clearQuotas:   "never retried: the platform counts each request",
		clearBySecret: "never retried; needs no token",
		tokenCalls:    "retried",
		forcedTokens:  "never retried: the platform counts each request",
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
				who += ", not applied"
			case fam.ambiguous && r.applied == wasApplied:
				who += ", applied"
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
	isWrite := slices.ContainsFunc(r.of, func(k kind) bool {
		return k != reads && k != tokenCalls && k != forcedTokens
	})
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
