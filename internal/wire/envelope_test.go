package wire

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A response type must not inherit the decoding of a part of it: that would hide its own fields.
var (
	_ interface{ ResponseEnvelope() *Envelope } = (*page)(nil)

	_, inherits = any((*page)(nil)).(json.Unmarshaler)
)

func TestEnvelopeIsNoUnmarshaler(t *testing.T) {
	assert.False(t, inherits)
}

func TestEnvelope(t *testing.T) {
	tests := []struct {
		name   string
		body   string
		code   int
		ok     bool
		errMsg string
		failed []string
	}{
		{
			"read success", `{"total":2,"count":2,"data":{"openid":["oFAKE1","oFAKE2"]},"next_openid":"oFAKE2"}`, 0,
			false, "", nil,
		},
		{"write success", "{\n\"errcode\": 0,\n\"errmsg\": \"ok\"\n}", 0, true, "ok", nil},
		{
			"refusal", `{"errcode":48001,"errmsg":"api unauthorized rid: 634c0b3e-4e213ffb-5b22a862"}`, 48001, true,
			"api unauthorized rid: 634c0b3e-4e213ffb-5b22a862", nil,
		},
		{
			"system busy", `{"errcode": -1,"errmsg": "system error rid: 5f45fc68-0bf65df0-75a2c7cc"}`, -1, true,
			"system error rid: 5f45fc68-0bf65df0-75a2c7cc", nil,
		},
		{"nine digits", `{"errcode":268487001}`, 268487001, true, "", nil},
		{
			"partial", `{"errcode":45171,"errmsg":"some openid fail","fail_openid_list":["oFAKE2"]}`, 45171, true,
			"some openid fail",
			[]string{"oFAKE2"},
		},
		{"quoted", `{"errcode":"40001","errmsg":"invalid credential"}`, 40001, true, "invalid credential", nil},
		{"quoted and negative", `{"errcode":"-1"}`, -1, true, "", nil},
		{"null", `{"errcode":null,"errmsg":null,"fail_openid_list":null,"total":1}`, 0, false, "", []string{}},
		{"errcode of a nested object", `{"request":{"errcode":45009,"errmsg":"m"}}`, 0, false, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var answer page
			require.NoError(t, Unmarshal([]byte(tt.body), &answer))
			code, ok := answer.ResponseEnvelope().Code()
			assert.Equal(t, tt.ok, ok)
			assert.Equal(t, tt.code, code)
			assert.Equal(t, tt.errMsg, answer.ErrMsg)
			assert.Equal(t, tt.failed, answer.FailOpenIDList)
		})
	}
}

func TestEnvelopeBesideAPayload(t *testing.T) {
	var got struct {
		Envelope
		OpenID string `json:"openid"`
		Total  int    `json:"total"`
		Quota  struct {
			DailyLimit int `json:"daily_limit"`
		} `json:"quota"`
	}
	body := `{"errcode":0,"errmsg":"ok","openid":"oFAKE1","total":3,"quota":{"daily_limit":500000,"used":0,"remain":500000}}`
	require.NoError(t, Unmarshal([]byte(body), &got))
	code, ok := got.Code()
	assert.True(t, ok)
	assert.Zero(t, code)
	assert.Equal(t, "ok", got.ErrMsg)
	assert.Equal(t, "oFAKE1", got.OpenID)
	assert.Equal(t, 3, got.Total)
	assert.Equal(t, 500000, got.Quota.DailyLimit)
}

// An errcode decides whether a call succeeded. So nothing but null stands for none.
func TestErrCodeOfAnotherType(t *testing.T) {
	for code, found := range map[string]string{
		`"abc"`: "a text", `""`: "a text", `"null"`: "a text", `" 1"`: "a text", `"0x1"`: "a text",
		`"1.5"`: "a fraction",
		`1.5`:   "a fraction", `{}`: "an object", `[]`: "a list", `[40001]`: "a list", `true`: "true or false",
	} {
		t.Run(code, func(t *testing.T) {
			var response page
			body := []byte(`{"errcode":` + code + `}`)
			require.EqualError(t, Unmarshal(body, &response), "errcode: "+found+" where a whole number is expected")
			require.Error(t, json.Unmarshal(body, &response))
		})
	}
	var response page
	require.EqualError(t, Unmarshal([]byte(`{"errcode":99999999999999999999}`), &response),
		"errcode: a number that is too large")
	require.Error(t, json.Unmarshal([]byte(`{"errcode":99999999999999999999}`), &response))
}

func TestErrCodeIsANumber(t *testing.T) {
	for _, code := range []string{`40001`, `"40001"`, `40001.0`, `4.0001e4`, `"400010E-1"`} {
		body := []byte(`{"errcode":` + code + `}`)
		for _, unmarshal := range []func([]byte, any) error{Unmarshal, json.Unmarshal} {
			var response page
			require.NoError(t, unmarshal(body, &response), code)
			got, ok := response.Code()
			assert.True(t, ok)
			assert.Equal(t, 40001, got)
		}
	}
}
