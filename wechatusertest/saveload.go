package wechatusertest

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"time"
)

// Save writes the account to w for [Server.Load]: the JSON of its [Snapshot], with one line for each tag and user.
//
//	{"next_tag_id":101,"tags":[
//	{"id":2,"name":"星标组"},
//	{"id":100,"name":"vip"}
//	],"users":[
//	{"openid":"oFAKE1","subscribe_time":1773115200,"remark":"老客户","tagid_list":[100]},
//	{"openid":"oFAKE2","subscribe_time":1773115200,"left":true}
//	]}
//
// It writes as it encodes, and does not block the server meanwhile.
func (s *Server) Save(w io.Writer) error {
	a := s.copyAccount()
	out := bufio.NewWriterSize(w, 64<<10) // Flush returns the first error of w
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	element := func(i int, v any) {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		line.Reset()
		_ = line.WriteByte('\n')
		_ = enc.Encode(v) // never fails for these types
		_, _ = out.Write(bytes.TrimSuffix(line.Bytes(), []byte("\n")))
	}
	_, _ = fmt.Fprintf(out, `{"next_tag_id":%d,"tags":[`, a.nextTag)
	for i, t := range a.tagStates() {
		element(i, &t)
	}
	_, _ = out.WriteString("\n" + `],"users":[`)
	for u := range a.users {
		state := a.userState(u)
		element(u, &state)
	}
	_, _ = out.WriteString("\n]}\n")
	if err := out.Flush(); err != nil {
		return fmt.Errorf("wechatusertest: Save: %w", err)
	}
	return nil
}

// Load replaces the account with one that [Server.Save] wrote, or with the JSON of a [Snapshot]. In a file written by
// hand, tags must come before users. Tokens, quotas, faults and logged requests are kept. It decodes while it reads, so
// r can hold a million followers.
//
// On an error the account is unchanged. The error has the line number and the reason.
func (s *Server) Load(r io.Reader) error {
	lines := &lineReader{r: r}
	l := loader{dec: json.NewDecoder(lines), account: newAccount()}
	l.dec.DisallowUnknownFields()
	if err := l.load(); err != nil {
		return fmt.Errorf("wechatusertest: Load: line %d: %w", lines.at(l.offset(err)), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account = l.account
	return nil
}

type loader struct {
	dec *json.Decoder
	account
}

func (l *loader) load() error {
	err := l.object(func(key string) error {
		switch key {
		case "next_tag_id":
			next := 0
			err := l.dec.Decode(&next)
			l.nextTag = max(l.nextTag, next)
			return syntax(err)
		case "tags":
			return l.array(l.addTag)
		case "users":
			return l.array(l.addUser)
		}
		return fmt.Errorf("unknown key %q", key)
	})
	if err != nil {
		return err
	}
	if _, err := l.dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the account")
	}
	return nil
}

func (l *loader) object(value func(key string) error) error {
	if err := l.delim('{'); err != nil {
		return err
	}
	for l.dec.More() {
		key, err := l.dec.Token()
		if err != nil {
			return syntax(err)
		}
		if err := value(key.(string)); err != nil { // the decoder accepts only strings as keys
			return err
		}
	}
	return l.delim('}')
}

func (l *loader) array(element func() error) error {
	if err := l.delim('['); err != nil {
		return err
	}
	for l.dec.More() {
		if err := element(); err != nil {
			return err
		}
	}
	return l.delim(']')
}

func (l *loader) delim(want json.Delim) error {
	token, err := l.dec.Token()
	if err == nil && token != want {
		err = fmt.Errorf("got %v, want %q", cmp.Or[any](token, "null"), want.String())
	}
	return syntax(err)
}

// syntax returns err, or a clearer error if the JSON is truncated.
func syntax(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("truncated JSON: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// offset returns the offset of an error: the end of the last token, or the start of the next one if that is invalid. Go
// 1.27 leaves the comma before it in the buffer.
func (l *loader) offset(err error) int64 {
	offset := l.dec.InputOffset()
	var unreadable *json.SyntaxError
	if errors.As(err, &unreadable) || errors.Is(err, io.ErrUnexpectedEOF) {
		rest, _ := io.ReadAll(l.dec.Buffered())
		offset += int64(len(rest) - len(bytes.TrimLeft(rest, ", \t\r\n")))
	}
	return offset
}

func (l *loader) addTag() error {
	var t TagState
	if err := l.dec.Decode(&t); err != nil {
		return syntax(err)
	}
	if t.ID == starTag && t.Name == systemTags[starTag] {
		return nil // every account has it
	}
	if t.ID < len(systemTags) || l.tag(t.ID) != nil {
		return fmt.Errorf("tag %d %q: the id is reserved or used twice", t.ID, t.Name)
	}
	if code := l.checkTagName(t.Name, nil); code != 0 {
		return fmt.Errorf("tag %d %q: %w", t.ID, t.Name, code)
	}
	l.ensureTag(t.ID).name = t.Name
	return nil
}

func (l *loader) addUser() error {
	var state UserState
	if err := l.dec.Decode(&state); err != nil {
		return syntax(err)
	}
	if state.OpenID == "" {
		return errors.New("user without openid")
	}
	if _, known := l.index[state.OpenID]; known {
		return fmt.Errorf("user %s: duplicate openid", state.OpenID)
	}
	u := l.follow(state.OpenID, time.Unix(state.SubscribeTime, 0))
	l.users[u].remark = state.Remark
	l.users[u].setProfile(state.Profile)
	for _, id := range state.TagIDList {
		t := l.tag(id)
		if t == nil {
			return fmt.Errorf("user %s: unknown tag %d", state.OpenID, id)
		}
		t.fans.add(u)
	}
	if state.Blocked {
		l.blocked.add(u)
	}
	if state.Left {
		l.unfollow(u)
	}
	return nil
}

// lineReader records the offsets of line ends.
type lineReader struct {
	r    io.Reader
	read int64
	ends []int64 // offsets after each newline
}

// Read implements [io.Reader].
func (l *lineReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	for i, c := range p[:n] {
		if c == '\n' {
			l.ends = append(l.ends, l.read+int64(i)+1)
		}
	}
	l.read += int64(n)
	return n, err
}

// at returns the number of the line that contains an offset. The first line is 1.
func (l *lineReader) at(offset int64) int {
	return 1 + sort.Search(len(l.ends), func(i int) bool { return l.ends[i] > offset })
}
