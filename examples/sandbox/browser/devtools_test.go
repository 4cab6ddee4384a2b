package browser

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stretchr/testify/require"
)

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// read dispatches the messages of the browser until it exits.
func (b *tab) read(from *os.File) {
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			break
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if reply, ok := b.waiting[m.ID]; ok {
			reply <- m
			delete(b.waiting, m.ID)
		} else {
			b.record(m)
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, reply := range b.waiting {
		close(reply)
	}
	b.waiting = nil
}

// record keeps requests and errors.
func (b *tab) record(m message) {
	var event struct {
		Type    string
		Request struct{ URL string }
		Entry   struct{ Level, Text, URL string }
	}
	_ = json.Unmarshal(m.Params, &event) // events without these fields are ignored
	switch {
	case m.Method == "Network.requestWillBeSent":
		b.requests = append(b.requests, event.Request.URL)
	case m.Method == "Runtime.exceptionThrown",
		m.Method == "Runtime.consoleAPICalled" && event.Type == "error",
		m.Method == "Log.entryAdded" && event.Entry.Level == "error":
		b.errors = append(b.errors, string(m.Params))
	}
}

func (b *tab) call(method string, params any) (json.RawMessage, error) {
	reply := make(chan message, 1)
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		return nil, errors.New("the browser has exited")
	}
	b.next++
	text, err := json.Marshal(map[string]any{"id": b.next, "method": method, "params": params, "sessionId": b.session})
	if err == nil {
		b.waiting[b.next] = reply
		_, err = b.to.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case m, ok := <-reply:
		switch {
		case !ok:
			return nil, errors.New("the browser has exited")
		case m.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		return m.Result, nil
	case <-time.After(timeout):
		return nil, fmt.Errorf("%s: no response", method)
	}
}

func (b *tab) must(result any, method string, params any) {
	b.t.Helper()
	raw, err := b.call(method, params)
	require.NoError(b.t, err)
	if result != nil {
		require.NoError(b.t, json.Unmarshal(raw, result))
	}
}

// eval evaluates JavaScript in the page, even if the page may not run scripts.
func (b *tab) eval(result any, script string, args ...any) error {
	quoted := make([]any, len(args))
	for i, arg := range args {
		text, err := json.Marshal(arg)
		if err != nil {
			return err
		}
		quoted[i] = text
	}
	raw, err := b.call("Runtime.evaluate",
		map[string]any{"expression": fmt.Sprintf(script, quoted...), "returnByValue": true})
	if err != nil {
		return err
	}
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	switch err := json.Unmarshal(raw, &out); {
	case err != nil:
		return err
	case out.ExceptionDetails != nil:
		return errors.New(out.ExceptionDetails.Exception.Description)
	}
	return json.Unmarshal(out.Result.Value, result)
}
