package transport

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const body = `{"tags":[{"id":100,"name":"vip","count":1}]}`

func respond(n int64, body io.Reader, headers ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: http.StatusOK, Header: h, ContentLength: n, Body: io.NopCloser(body)}
}

func TestContentLengthIsOnlyAHint(t *testing.T) {
	lengths := []int64{
		math.MinInt64, -1, 0, 1, int64(len(body)), maxKept, MaxBody + 1, math.MaxInt64 - 1, math.MaxInt64,
	}
	for _, n := range lengths {
		b := new(bodyBuffer)
		got, err := b.read(respond(n, iotest.OneByteReader(strings.NewReader(body))))
		require.NoError(t, err, n)
		assert.Equal(t, body, string(got), n)
		assert.LessOrEqual(t, b.Cap(), maxKept, "%d: memory for what has not arrived", n)
	}
}

func TestBodyAtTheLimit(t *testing.T) {
	for size, want := range map[int]error{MaxBody: nil, MaxBody + 1: ErrBodyTooLarge} {
		got, err := new(bodyBuffer).read(respond(-1, strings.NewReader(strings.Repeat("x", size))))
		assert.ErrorIs(t, err, want)
		assert.Len(t, got, MaxBody)
	}
}

func TestBodyThatBreaksOff(t *testing.T) {
	errCut := errors.New("cut")
	got, err := new(bodyBuffer).read(respond(-1, io.MultiReader(strings.NewReader("<html>"), iotest.ErrReader(errCut))))
	require.ErrorIs(t, err, errCut)
	assert.Equal(t, "<html>", string(got), "what was read before the error")
}

func TestGzipOfATransportThatDoesNotDecompress(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte(body))
	require.NoError(t, w.Close())
	for _, encoding := range []string{"gzip", "GZIP"} {
		got, err := new(bodyBuffer).read(respond(-1, bytes.NewReader(zipped.Bytes()), "Content-Encoding", encoding))
		require.NoError(t, err)
		assert.Equal(t, body, string(got))
	}
	_, err := new(bodyBuffer).read(respond(-1, strings.NewReader(body), "Content-Encoding", "gzip"))
	require.ErrorIs(t, err, gzip.ErrHeader)
	got, err := new(bodyBuffer).read(respond(0, strings.NewReader(""), "Content-Encoding", "gzip"))
	require.NoError(t, err, "nothing to decompress")
	assert.Empty(t, got)
}

// The memory of a large response is not kept, and that of others is.
func TestWhichBuffersAreKept(t *testing.T) {
	bodyBuffers.New = func() any { return nil }
	defer func() { bodyBuffers.New = newBodyBuffer }()
	for size, kept := range map[int]bool{
		100: true, 320 << 10: true, maxKept / 2: true, 2 * maxKept: false, MaxBody: false,
	} {
		found, text := false, strings.Repeat("x", size)
		rounds := 10 // a pool may forget
		if !kept {
			rounds = 2
		}
		for range rounds {
			for bodyBuffers.Get() != nil { // until it is empty
			}
			resp := Response{buf: new(bodyBuffer)}
			_, err := resp.buf.read(respond(int64(size), strings.NewReader(text)))
			require.NoError(t, err)
			resp.Release()
			if found = bodyBuffers.Get() != nil; found {
				break
			}
		}
		assert.Equal(t, kept, found, "%d bytes", size)
	}
}

func TestReleaseOfAResponseThatIsNone(t *testing.T) {
	assert.NotPanics(t, new(Response).Release)
}
