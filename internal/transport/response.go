package transport

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// MaxBody is the size of the largest body that is read, decompressed: fifty times the largest page of openids.
const MaxBody = 16 << 20

// ErrBodyTooLarge is the error of a response whose body is larger than [MaxBody].
var ErrBodyTooLarge = fmt.Errorf("the body is over %d MiB", MaxBody>>20)

// Response is an HTTP response, or what is known if there is none.
type Response struct {
	Status int // 0 if there was none
	Header http.Header
	Body   []byte // in buf
	buf    *bodyBuffer

	// Repeated means that net/http sent the request more than once, because connections broke before a response.
	Repeated bool
	// Broken means that a reused connection broke. It may have been dead for a long time, so this says nothing about
	// the host. The idle connections were closed, and a retry uses a new one.
	Broken bool
}

// Release returns the memory of the body to a pool. The body must not be used afterwards.
func (r *Response) Release() {
	if r.buf != nil && r.buf.Cap() <= maxKept {
		r.buf.Reset()
		bodyBuffers.Put(r.buf)
	}
}

// bodyBuffer is memory for the body of a response.
type bodyBuffer struct {
	bytes.Buffer
	limited io.LimitedReader
}

var bodyBuffers = sync.Pool{New: newBodyBuffer}

func newBodyBuffer() any { return new(bodyBuffer) }

// maxKept is the size of the largest buffer that is kept for other responses. A page of 10,000 openids takes a third
// of it.
const maxKept = 1 << 20

// read reads a body, at most [MaxBody] of it. After an error it also returns what was read before.
func (b *bodyBuffer) read(resp *http.Response) ([]byte, error) {
	body := io.Reader(resp.Body)
	// The transport of net/http has decompressed the body already; others may not have.
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") && resp.ContentLength != 0 {
		zr, err := gzip.NewReader(body)
		if err != nil {
			return nil, fmt.Errorf("the body is not the gzip that its header says: %w", err)
		}
		body = zr
	}
	// Memory beyond maxKept is allocated only as the body arrives, whatever the header promises.
	if n := resp.ContentLength; n > 0 {
		b.Grow(int(min(n, maxKept-bytes.MinRead)) + bytes.MinRead)
	}
	b.limited = io.LimitedReader{R: body, N: MaxBody + 1}
	_, err := b.ReadFrom(&b.limited)
	b.limited.R = nil
	if err == nil && b.Len() > MaxBody {
		return b.Bytes()[:MaxBody], ErrBodyTooLarge
	}
	return b.Bytes(), err
}
