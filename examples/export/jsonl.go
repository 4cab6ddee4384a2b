package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"iter"

	"github.com/wechatuser/wechatuser"
)

// jsonLines is one JSON object a line: the profile with the platform's fields, and the names of its tags.
type jsonLines struct{}

type jsonProfile struct {
	wechatuser.UserInfo
	Tags []string `json:"tags"`
}

// jsonRefusal is a line for a profile that was refused.
type jsonRefusal struct {
	OpenID string `json:"openid"`
	Error  string `json:"error"`
}

func (jsonLines) header() []byte { return nil }

func (jsonLines) append(b *bytes.Buffer, r row) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if r.err != "" {
		return enc.Encode(jsonRefusal{r.user.OpenID, r.err})
	}
	return enc.Encode(jsonProfile{r.user, r.tags})
}

func (jsonLines) scan(r io.Reader) iter.Seq2[foundRow, int64] {
	return func(yield func(foundRow, int64) bool) {
		in, offset := bufio.NewReader(r), int64(0)
		for {
			line, err := in.ReadBytes('\n')
			var found jsonRefusal
			if err != nil || json.Unmarshal(line, &found) != nil || found.OpenID == "" {
				return
			}
			offset += int64(len(line))
			if !yield(foundRow{openID: found.OpenID, refused: found.Error != ""}, offset) {
				return
			}
		}
	}
}
