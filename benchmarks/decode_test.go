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
	"github.com/wechatuser/wechatuser/benchmarks/internal/bodies"
	"github.com/wechatuser/wechatuser/benchmarks/internal/origin"
)

// BenchmarkDecode fetches a page of 10,000 openids without a network: the transport returns the body at once. The
// results include building the request, reading the body and decoding it, and for the SDK everything else that a call
// does.
func BenchmarkDecode(b *testing.B) {
	transport := origin.Canned(origin.AppendPage(nil, 25_000, 0))
	measure := func(name string, page func(context.Context) error) {
		b.Run("with="+name, func(b *testing.B) {
			require.NoError(b, page(b.Context())) // sonic compiles its decoder on first use
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

// BenchmarkDecodeBody decodes bodies as the platform writes them: without a call, only the decoder.
func BenchmarkDecodeBody(b *testing.B) {
	for _, body := range bodies.All() {
		for _, d := range bodies.Decoders {
			if body.Raw && d.Name != "wechatuser" {
				continue // the others reject it
			}
			b.Run("body="+body.Name+"/with="+d.Name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(body.JSON)))
				start := cpuTime()
				for b.Loop() {
					_, err := body.Decode(d)
					require.NoError(b, err)
				}
				reportCPU(b, start)
			})
		}
	}
}

// fastjsonPage decodes a page with fastjson, which does not decode into structs.
func fastjsonPage(data []byte, into any) error {
	page, ok := into.(*bare.Page)
	if !ok {
		return errors.New("fastjsonPage decodes into *bare.Page only")
	}
	p := parsers.Get()
	defer parsers.Put(p)
	v, err := p.ParseBytes(data)
	if err != nil {
		return err
	}
	page.ErrCode, page.ErrMsg = v.GetInt("errcode"), string(v.GetStringBytes("errmsg"))
	page.Total, page.Count = v.GetInt("total"), v.GetInt("count")
	page.NextOpenID = string(v.GetStringBytes("next_openid"))
	list := v.GetArray("data", "openid")
	page.Data.OpenIDs = make([]string, len(list))
	for i, id := range list {
		page.Data.OpenIDs[i] = string(id.GetStringBytes())
	}
	return nil
}

var parsers fastjson.ParserPool
