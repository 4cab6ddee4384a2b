package wechatusertest_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Errors have HTTP status 200 too, the parameter of the Content-Type is "encoding" instead of "charset", and the JSON
// has no spaces and no trailing newline.
// https://developers.weixin.qq.com/community/personal/oCJUswzai3-Y_UFZ1CTdtOlX6HvM
func TestResponsesLookLikeThePlatforms(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	for _, path := range []string{"/cgi-bin/tags/get", "/cgi-bin/user/info", "/cgi-bin/nothing"} {
		w := a.do(http.MethodGet, path, nil, "")
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, "application/json; encoding=utf-8", w.Header().Get("Content-Type"))
		assert.Regexp(t, `^\{"errcode":\d+,"errmsg":"[^"]+"\}$`, w.Body.String())
	}
	assert.Equal(t, `{"tags":[{"id":2,"name":"星标组","count":0}]}`, a.get("/cgi-bin/tags/get"))
}
