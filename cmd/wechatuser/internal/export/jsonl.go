package export

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"maps"
)

// jsonLines is one JSON object per line: the profile with the platform's fields, and the names of its tags.
type jsonLines struct{}

// jsonRejected is the line of a rejected profile.
type jsonRejected struct {
	OpenID string `json:"openid"`
	Error  string `json:"error"`
}

func (jsonLines) header() []byte { return nil }

func (jsonLines) append(b *bytes.Buffer, r row) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if r.err != "" {
		return enc.Encode(jsonRejected{r.user.OpenID, r.err})
	}
	tags, err := json.Marshal(r.tags)
	if err != nil {
		return err
	}
	extra := map[string]json.RawMessage{}
	maps.Copy(extra, r.user.Extra)
	extra["tags"] = tags
	r.user.Extra = extra
	return enc.Encode(r.user)
}

func (jsonLines) scan(r io.Reader) iter.Seq2[scannedRow, int64] {
	return func(yield func(scannedRow, int64) bool) {
		in, offset := bufio.NewReader(r), int64(0)
		for {
			line, err := in.ReadBytes('\n')
			var found jsonRejected
			if err != nil || json.Unmarshal(line, &found) != nil || found.OpenID == "" {
				return
			}
			offset += int64(len(line))
			if !yield(scannedRow{openID: found.OpenID, rejected: found.Error != ""}, offset) {
				return
			}
		}
	}
}
