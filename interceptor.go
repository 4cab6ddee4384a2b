package wechatuser

import (
	"context"
	"time"
)

// Call names an API call to an [Interceptor]. It contains no secret and no openid.
type Call struct {
	API    string // official name, such as "batchTagging"
	Method string // HTTP method
	Path   string // without query
}

// Result is the result of a call, also of one that failed.
type Result struct {
	StatusCode int           // HTTP status of the last response, 0 if there was none
	Code       Code          // errcode of the last response
	RID        string        // rid of the last response; successes have none
	Attempts   int           // requests sent
	Host       string        // host of the last attempt, such as [BaseURL]; empty if there was none
	Duration   time.Duration // of all attempts, with the pauses and the waits for a token
}

// Interceptor wraps one API call with all its attempts, for metrics, traces, logs or a policy of your own. Requests for
// tokens are calls too.
//
// It must call next or return an error. It may replace the error of next, but not drop it: a call without a response
// fails. It must be safe for concurrent use, and return when the context ends.
//
// A token request runs while the calls that need the token wait inside their interceptors. So an interceptor must not
// make a token request wait for those calls: one that limits how many calls run at once must let it through. Nor may an
// interceptor make calls of its own for a token request. A token request that is held back for 5 seconds is sent
// without the interceptors, and logged as a warning.
type Interceptor func(ctx context.Context, call Call, next func(context.Context) (Result, error)) (Result, error)

// Limiter delays calls so that a quota lasts. [golang.org/x/time/rate.Limiter] is one.
//
// It must be safe for concurrent use, and Wait must return when the context ends.
type Limiter interface {
	Wait(context.Context) error
}
