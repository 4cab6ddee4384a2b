// Package bodies has response bodies as the platform writes them, and decoders that are compared on them.
package bodies

import (
	"bytes"
	"encoding/json"
	"strings"

	gojson "github.com/goccy/go-json"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/benchmarks/internal/origin"
	"github.com/wechatuser/wechatuser/internal/wire"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// Body is the body of a response.
type Body struct {
	Name string
	JSON []byte
	// Raw reports that the body has a raw control character, so that it is not valid JSON.
	Raw bool
	// Page reports that it is a page of openids, and not a batch of profiles.
	Page bool
}

// Profiles is the response of batchget, without a place for unknown fields: no other decoder knows one.
type Profiles struct {
	wire.Envelope
	Users []struct {
		Subscribe      int                       `json:"subscribe"`
		OpenID         string                    `json:"openid"`
		UnionID        string                    `json:"unionid,omitempty"`
		Language       string                    `json:"language"`
		SubscribeTime  int64                     `json:"subscribe_time"`
		Remark         string                    `json:"remark"`
		GroupID        int                       `json:"groupid"`
		TagIDList      []int                     `json:"tagid_list"`
		SubscribeScene wechatuser.SubscribeScene `json:"subscribe_scene"`
		QRScene        int64                     `json:"qr_scene"`
		QRSceneStr     string                    `json:"qr_scene_str"`
		Nickname       string                    `json:"nickname"`
		Sex            int                       `json:"sex"`
		City           string                    `json:"city"`
		Province       string                    `json:"province"`
		Country        string                    `json:"country"`
		HeadImgURL     string                    `json:"headimgurl"`
	} `json:"user_info_list"`
}

// Page is the response of the lists of openids.
type Page struct {
	wire.Envelope
	Total *int `json:"total"`
	Count *int `json:"count"`
	Data  struct {
		OpenIDs []string `json:"openid"`
	} `json:"data"`
	NextOpenID *string `json:"next_openid"`
}

// All returns the bodies: 100 profiles in several shapes, and a page of 10,000 openids.
func All() []Body {
	var request bytes.Buffer
	for i := range 100 {
		request.WriteString(`{"openid":"` + wechatusertest.OpenID(i) + `"}`)
	}
	today := string(origin.AppendProfiles(nil, request.Bytes()))
	const (
		remark    = "常客"
		emoji     = `常\ud83d\ude00客`
		noAvatar  = `"headimgurl":""`
		avatar    = `"headimgurl":"http:\/\/wx.example.com\/mmopen\/g3MonUZtNHkdmzicIlibx6iaFqAc56vxLSUfpb6n5WKSYVY0ChQKkiaJSgQ1dZuTOgvLLrhJbERQQ\/0"`
		noUnknown = `"sex":0,`
		unknown   = `"sex":0,"score":-1.25e3,"since":null,"level":{"ids":[1,2.5,{"next":null}],"name":"n","ok":true},`
	)
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(today), "", "    "); err != nil {
		panic(err)
	}
	return []Body{
		{Name: "today", JSON: []byte(today)},
		{Name: "avatars", JSON: []byte(strings.ReplaceAll(today, noAvatar, avatar))},
		{Name: "one-escape", JSON: []byte(strings.Replace(today, remark, emoji, 1))},
		{Name: "escapes", JSON: []byte(strings.ReplaceAll(today, remark, emoji))},
		{Name: "raw-control", JSON: []byte(strings.Replace(today, remark, "常\x14客", 1)), Raw: true},
		{Name: "pretty", JSON: pretty.Bytes()},
		{Name: "unknown", JSON: []byte(strings.ReplaceAll(today, noUnknown, unknown))},
		{Name: "page", JSON: origin.AppendPage(nil, 25_000, 0), Page: true},
	}
}

// Decoder is a decoder at its best setting among those with the results of encoding/json.
type Decoder struct {
	Name   string
	Decode func(data []byte, into any) error
}

// Decoders are this SDK's, goccy/go-json with two settings, and encoding/json.
var Decoders = []Decoder{
	{"wechatuser", wire.Unmarshal},
	{"goccy_go-json", func(data []byte, into any) error { return gojson.Unmarshal(data, into) }},
	{"goccy_go-json_no-escape", func(data []byte, into any) error { return gojson.UnmarshalNoEscape(data, into) }},
	{"encoding_json", json.Unmarshal},
}

// Decode decodes the body, and returns the result.
func (b Body) Decode(d Decoder) (any, error) {
	if b.Page {
		var into Page
		err := d.Decode(b.JSON, &into)
		return into, err
	}
	var into Profiles
	err := d.Decode(b.JSON, &into)
	return into, err
}
