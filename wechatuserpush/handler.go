package wechatuserpush

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wechatuser/wechatuser/internal/redact"
)

// NewHandler returns a handler for the URL at which an account receives its pushes. It calls handle for each push that
// is genuine and new. It returns an error that names each invalid field of cfg.
//
// If handle returns nil, the platform is told that the push is done. If it returns an error, panics, or its time is up,
// the response has status 500, and the push is handled again when the platform repeats it, at most three times in all.
// So handle may be called again for an event that it has handled in part. It must be safe for concurrent use.
//
// The context of handle ends after [Config.Timeout], and not when the platform hangs up: what handle does then would be
// lost, and has to be done again for the repeat. A repeat that arrives meanwhile waits for the result of that call.
//
// Requests that are no genuine push all get the same response, status 403 without a body. [Config.Logger] gets the
// reason.
func NewHandler(cfg Config, handle func(ctx context.Context, event Event) error) (http.Handler, error) {
	cfg, err := cfg.withDefaults()
	if handle == nil {
		err = errors.Join(err, errors.New("wechatuserpush: NewHandler: handle: nil function"))
	}
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for _, text := range []string{cfg.EncodingAESKey, cfg.PreviousEncodingAESKey} {
		if text != "" {
			key, _ := parseKey(text) // was checked
			keys = append(keys, key)
		}
	}
	log := newLimitedLog(cfg.Logger)
	return &handler{
		appID: cfg.AppID, allowPlain: cfg.AllowPlain, maxAge: cfg.MaxAge, maxBody: cfg.MaxBody, log: log,
		token: func() string { return cfg.Token },
		keys:  func() [][]byte { return keys },
		runs:  newRuns(cfg, log, handle),
	}, nil
}

// handler is the handler that NewHandler returns.
type handler struct {
	appID      string
	token      func() string   // a function, because fmt prints a string field however deep it is
	keys       func() [][]byte // the present one first; none without encryption
	allowPlain bool
	maxAge     time.Duration
	maxBody    int64
	log        *limitedLog
	runs       *runs
}

// String returns the AppID and nothing secret.
func (h *handler) String() string { return "wechatuserpush.Handler(" + h.appID + ")" }

// Format prints the result of String for every verb.
func (h *handler) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.String()) }

// LogValue returns the result of String.
func (h *handler) LogValue() slog.Value { return slog.StringValue(h.String()) }

// Reasons to refuse a request. They go to the log, and quote nothing of the request.
var (
	errMethod    = errors.New("the method is neither GET nor POST")
	errQuery     = errors.New("a parameter of the URL is missing, occurs twice or is no valid value")
	errTime      = errors.New("the time stamp is too old or in the future: if this stands here often, set the clock")
	errSignature = errors.New("the signature is wrong: the request is forged, or Token is not the one in the console")
	errEcho      = errors.New("the echostr has characters that the platform does not use")
	errCoding    = errors.New("the body is compressed, or not in UTF-8")
	errBody      = errors.New("the body cannot be read")
	errSize      = errors.New("the body is longer than MaxBody")
	errJSON      = errors.New("the body is JSON: choose XML (数据格式) in the console")
	errPlain     = errors.New("the push is not encrypted: choose 安全模式 in the console, or set AllowPlain")
	errNoKey     = errors.New("the push is encrypted: set EncodingAESKey")
	errEncrypt   = errors.New("the push has no Encrypt, or one where none belongs")
	errOtherApp  = errors.New("the push is for another third-party platform")
)

// ServeHTTP answers the platform.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		echo, err := h.verify(r)
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		h.log.log(r.Context(), slog.LevelInfo, 1, "wechatuserpush: the platform has verified the URL",
			slog.String("appid", h.appID))
		respond(w, echo)
	case http.MethodPost:
		p, err := h.read(r)
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		if err := h.runs.do(r.Context(), p); err != nil { // it was logged
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		respond(w, "success")
	default:
		h.refuse(w, r, errMethod)
	}
}

func respond(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, text)
}

// refuse answers all that is not genuine in the same way. The server closes a connection whose request body was not
// read to its end, so all of them are closed.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, reason error) {
	h.log.log(r.Context(), slog.LevelWarn, 1, "wechatuserpush: a request was refused: "+reason.Error(),
		slog.String("appid", h.appID), slog.String("remote", r.RemoteAddr))
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Length", "0") // for HEAD too
	w.WriteHeader(http.StatusForbidden)
}

// maxQuery is the longest query of a URL.
const maxQuery = 4096

// query is what the platform adds to the URL.
type query struct{ signature, msgSignature, timestamp, nonce, encryptType, echo string }

// parseQuery reads the parameters. Those of others are ignored: the URL may have its own, and the platform sends openid
// too.
func parseQuery(raw string) (q query, err error) {
	if len(raw) > maxQuery {
		return q, errQuery
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, errQuery
	}
	for name, field := range map[string]*string{
		"signature": &q.signature, "msg_signature": &q.msgSignature, "timestamp": &q.timestamp, "nonce": &q.nonce,
		"encrypt_type": &q.encryptType, "echostr": &q.echo,
	} {
		switch found := values[name]; {
		case len(found) > 1:
			return q, errQuery
		case len(found) == 1:
			*field = found[0]
		}
	}
	// A signature does not tell where one text ends and the next one begins. So they must look like the platform's.
	if l := len(q.timestamp); l < 9 || l > 10 || strings.Trim(q.timestamp, "0123456789") != "" {
		return q, errQuery
	}
	if l := len(q.nonce); l == 0 || l > 128 || !isWord(q.nonce) {
		return q, errQuery
	}
	return q, nil
}

// isWord reports whether a text consists of letters, digits and what base64 and UUIDs have.
func isWord(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		isAlphanumeric := r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		return !isAlphanumeric && !strings.ContainsRune("-_.+/=", r)
	})
}

// checkTime checks that a request is not older than MaxAge.
func (h *handler) checkTime(q query) error {
	seconds, err := strconv.ParseInt(q.timestamp, 10, 64)
	if err != nil {
		return errQuery
	}
	if age := time.Since(time.Unix(seconds, 0)); age > h.maxAge || age < -h.maxAge {
		return errTime
	}
	return nil
}

// verify returns what the platform wants to read when the URL is set in the console. It signs that request like one
// without encryption, whatever the mode is.
func (h *handler) verify(r *http.Request) (echo string, err error) {
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	if !isSigned(q.signature, h.token(), q.timestamp, q.nonce) {
		return "", errSignature
	}
	if err := h.checkTime(q); err != nil {
		return "", err
	}
	if q.echo == "" || !isWord(q.echo) { // it is not signed, so it must be harmless
		return "", errEcho
	}
	return q.echo, nil
}

// push is a genuine push.
type push struct {
	event   Event
	key     string          // of the push and its repeats
	redacts redact.Redactor // what no log may show
}

// read reads a push and checks that it is genuine.
func (h *handler) read(r *http.Request) (p push, err error) {
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return p, err
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return p, errCoding
	}
	if _, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil {
		if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
			return p, errCoding
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, h.maxBody))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return p, errSize
	case err != nil:
		return p, errBody
	case len(body) > 0 && body[0] == '{':
		return p, errJSON
	}
	text, found, err := h.open(q, body)
	if err != nil {
		return p, err
	}
	if found["InfoType"] != "" && found["AppId"] != h.appID {
		return p, errOtherApp
	}
	event, err := newEvent(found, text)
	if err != nil {
		return p, err
	}
	return push{event, h.key(found, text), redact.New(append(found.secrets(), h.token())...)}, nil
}

// open checks the signature of a push, and decrypts it. It returns the XML of the push and the fields in it.
func (h *handler) open(q query, body []byte) (text []byte, found fields, err error) {
	encrypted := q.encryptType == "aes" || q.msgSignature != ""
	keys := h.keys()
	if len(keys) == 0 || !encrypted {
		return h.openPlain(q, body, encrypted)
	}
	// With 兼容模式 the XML has all fields both in clear and in Encrypt. Only the latter are signed.
	outer, err := parseFields(body)
	if err != nil {
		return nil, nil, err
	}
	if outer["Encrypt"] == "" {
		return nil, nil, errEncrypt
	}
	if !isSigned(q.msgSignature, h.token(), q.timestamp, q.nonce, outer["Encrypt"]) {
		return nil, nil, errSignature
	}
	if err := h.checkTime(q); err != nil {
		return nil, nil, err
	}
	text, err = decrypt(outer["Encrypt"], keys, h.appID)
	if err != nil {
		return nil, nil, err
	}
	if found, err = parseFields(text); err != nil {
		return nil, nil, err
	}
	if found["Encrypt"] != "" {
		return nil, nil, errEncrypt
	}
	return text, found, nil
}

// openPlain is open for a push that is not encrypted, or whose fields in clear are to be used.
func (h *handler) openPlain(q query, body []byte, encrypted bool) (text []byte, found fields, err error) {
	if !h.allowPlain {
		return nil, nil, errPlain
	}
	if !isSigned(q.signature, h.token(), q.timestamp, q.nonce) {
		return nil, nil, errSignature
	}
	if err := h.checkTime(q); err != nil {
		return nil, nil, err
	}
	if found, err = parseFields(body); err != nil {
		return nil, nil, err
	}
	switch isEncrypted := found["Encrypt"] != ""; {
	case isEncrypted && found["MsgType"] == "":
		return nil, nil, errNoKey
	case isEncrypted && !encrypted:
		return nil, nil, errEncrypt
	}
	return body, found, nil
}

// key returns the name under which a push and its repeats are remembered. It is a hash with a key, so that nobody who
// reads it finds an openid, not even by trying known ones.
func (h *handler) key(found fields, text []byte) string {
	parts := found.identity()
	if found["CreateTime"] == "" {
		parts = append(parts, string(text)) // too little is known to tell it from others
	}
	mac := hmac.New(sha256.New, []byte(h.token()))
	for _, part := range parts {
		_ = binary.Write(mac, binary.BigEndian, uint32(len(part)))
		_, _ = io.WriteString(mac, part)
	}
	return "wechatuser:push:" + h.appID + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}
