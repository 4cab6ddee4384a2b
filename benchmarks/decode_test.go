package benchmarks

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/bytedance/sonic"
	jsonv2 "github.com/go-json-experiment/json"
	gojson "github.com/goccy/go-json"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fastjson"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/benchmarks/internal/bare"
	"github.com/wechatuser/wechatuser/benchmarks/internal/origin"
)

// BenchmarkDecode gets a page of 10,000 openids without a network: the transport hands out the body at once. A figure
// holds the making of the request, the reading of the body and the decoding, and for the SDK all else that it does.
func BenchmarkDecode(b *testing.B) {
	transport := origin.Canned(origin.AppendPage(nil, 25_000, 0))
	measure := func(name string, page func(context.Context) error) {
		b.Run("with="+name, func(b *testing.B) {
			require.NoError(b, page(b.Context())) // sonic compiles at the first one
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				require.NoError(b, page(b.Context()))
			}
			reportCPU(b, start)
		})
	}
	for _, with := range []struct {
		name   string
		decode func(body io.Reader, length int64, into any) error
	}{
		{"json.Decoder", func(body io.Reader, _ int64, into any) error { return json.NewDecoder(body).Decode(into) }},
		{"json.Unmarshal", bare.Sized(json.Unmarshal)},
		{"go-json-experiment", bare.Sized(func(data []byte, into any) error { return jsonv2.Unmarshal(data, into) })},
		{"fastjson", bare.Sized(fastjsonPage)},
		{"goccy_go-json", bare.Sized(gojson.Unmarshal)},
		{"sonic", bare.Sized(sonic.Unmarshal)},
	} {
		c := bare.New("http://127.0.0.1")
		c.HTTP = &http.Client{Transport: transport}
		c.Decode = with.decode
		measure(with.name, func(ctx context.Context) error { return getFans.bare(ctx, c) })
	}
	c := newClient(b, "http://127.0.0.1", wechatuser.WithTransport(transport),
		wechatuser.WithTokenSource(wechatuser.StaticTokenSource("ACCESS-TOKEN-FOR-BENCHMARKS")))
	measure("wechatuser", func(ctx context.Context) error { return getFans.sdk(ctx, c) })
}

// fastjsonPage decodes a page with fastjson, which has no structs.
func fastjsonPage(data []byte, into any) error {
	page, ok := into.(*bare.Page)
	if !ok {
		return errors.New("only for pages")
	}
	p := parsers.Get()
	defer parsers.Put(p)
	v, err := p.ParseBytes(data)
	if err != nil {
		return err
	}
	page.ErrCode, page.ErrMsg = v.GetInt("errcode"), string(v.GetStringBytes("errmsg"))
	page.Total, page.Count, page.NextOpenID = v.GetInt("total"), v.GetInt("count"), string(v.GetStringBytes("next_openid"))
	list := v.GetArray("data", "openid")
	page.Data.OpenIDs = make([]string, len(list))
	for i, id := range list {
		page.Data.OpenIDs[i] = string(id.GetStringBytes())
	}
	return nil
}

var parsers fastjson.ParserPool
