package wechatuser

import (
	"context"
	"time"
)

// Call names an API call to an [Interceptor]. It holds no secret, and no openid either.
type Call struct {
	API    string // official name, such as "batchTagging"
	Method string // HTTP method
	Path   string // without query
}

// Result is what came of a call, also of one that failed.
type Result struct {
	StatusCode int           // HTTP status of the last answer, 0 if there was none
	Code       Code          // errcode of the last answer
	RID        string        // rid of the last answer; successes have none
	Attempts   int           // requests sent
	Host       string        // address of the last attempt, such as [BaseURL]; empty if there was none
	Duration   time.Duration // from the first attempt to the last, waits included
}

// Interceptor goes around one API call with all its attempts: for metrics, traces, logs or a policy of one's own.
// It must call next, or return an error. It can replace the error of next, and not drop it: there is no success without
// an answer. Requests for tokens are calls too.
//
// It must be safe for concurrent use.
type Interceptor func(ctx context.Context, call Call, next func(context.Context) (Result, error)) (Result, error)

// Limiter holds calls back so that a quota lasts. [golang.org/x/time/rate.Limiter] is one.
//
// It must be safe for concurrent use, and Wait must return when the context ends.
type Limiter interface {
	Wait(context.Context) error
}
