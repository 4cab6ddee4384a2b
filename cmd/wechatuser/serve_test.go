package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/examples/tokenclient"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

// serving is a run of the program that serves until it is stopped.
type serving struct {
	stdout *bufio.Reader
	stderr *bytes.Buffer // after stop
	stop   func() (rest string, code int)
}

// start starts a program that serves.
func (in invocation) start(t *testing.T, sig os.Signal) serving {
	t.Helper()
	cmd := in.command(t)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	s := serving{stdout: bufio.NewReader(out), stderr: new(bytes.Buffer)}
	cmd.Stderr = s.stderr
	require.NoError(t, cmd.Start())
	var rest []byte
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Signal(sig)
		rest, _ = io.ReadAll(s.stdout)
		_ = cmd.Wait() // the exit code says how it ended
	})
	t.Cleanup(stop)
	s.stop = func() (string, int) {
		stop()
		return string(rest), cmd.ProcessState.ExitCode()
	}
	return s
}

// line returns the next line of the output.
func (s serving) line(t *testing.T) string {
	t.Helper()
	text, err := s.stdout.ReadString('\n')
	if err != nil {
		_, code := s.stop()
		require.FailNow(t, "no output", "exit code %d: %s", code, s.stderr)
	}
	return strings.TrimSuffix(text, "\n")
}

func TestSandboxServes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := invocation{
		args: []string{"sandbox", "--addr", "127.0.0.1:0", "--fans", "12", "--state", "account.json"}, dir: dir,
	}.start(t, os.Interrupt)
	base := s.line(t)
	c, err := wechatuser.New("wx0000000000000000", strings.Repeat("0", 32), wechatuser.WithBaseURL(base))
	require.NoError(t, err)
	defer c.HTTPClient().CloseIdleConnections()

	fans, err := c.GetFans(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, 12, fans.Total)
	require.NoError(t, c.BatchBlacklist(t.Context(), fans.OpenIDs[:1]))
	rest, code := s.stop()
	assert.Equal(t, exitOK, code, "Ctrl-C is how a server ends")
	assert.Contains(t, rest, "12 followers. The web page is at "+base+"/")
	assert.Contains(t, rest, "Saved the account to account.json")
	assert.Empty(t, s.stderr.String())

	// The account that was served is one for --sandbox.
	got := invocation{args: []string{"--sandbox", "--sandbox-state", "account.json", "blacklist"}, dir: dir}.run(t)
	assert.Equal(t, fans.OpenIDs[0]+"\n", got.stdout, got.stderr)
}

func TestSandboxJSON(t *testing.T) {
	t.Parallel()
	in := invocation{args: []string{"sandbox", "--json", "--addr", "127.0.0.1:0", "--appid", "wxTEST"}}
	s := in.start(t, syscall.SIGTERM)
	var where struct {
		BaseURL string `json:"base_url"`
		AppID   string `json:"appid"`
	}
	require.NoError(t, json.Unmarshal([]byte(s.line(t)), &where))
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+$`, where.BaseURL)
	assert.Equal(t, "wxTEST", where.AppID)
	rest, code := s.stop()
	assert.Equal(t, exitOK, code)
	assert.Empty(t, rest)
}

func TestSandboxArguments(t *testing.T) {
	for want, args := range map[string][]string{
		"unknown command":                      {"now"},
		`"8080" must be like 127.0.0.1:8080`:   {"--addr", "8080"},
		"it must be strict, wild or wild:seed": {"--quirks", "mild"},
		"fans、pagesize 和 latency 不能为负数":        {"--fans", "-1", "--lang", "zh"},
		"只能是 strict、wild 或 wild:种子":            {"--quirks", "mild", "--lang", "zh"},
	} {
		got := run(t, append([]string{"sandbox"}, args...)...)
		assert.Equal(t, exitUsage, got.code, want)
		assert.Contains(t, got.stderr, want)
		assert.Empty(t, got.stdout)
	}
	got := run(t, "sandbox", "--addr", "127.0.0.1:0", "--state", "nowhere/account.json")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.stderr, "cannot save the account")
	for lang, want := range map[string]string{"en": "seed of the random numbers", "zh": "随机数种子"} {
		assert.Contains(t, run(t, "sandbox", "--help", "--lang", lang).stdout, want)
		assert.Contains(t, run(t, "token", "serve", "--help", "--lang", lang).stdout, "--key-file")
	}
}

const testKey = "SENTINEL-KEY-SENTINEL-KEY-SENTINEL"

func TestTokenServe(t *testing.T) {
	t.Parallel()
	srv := newServer(t, wechatusertest.WithFans(3))
	s := invocation{
		args: []string{"token", "serve", "--addr", "127.0.0.1:0"},
		env:  append(credentials(srv), "TOKENSERVER_KEY="+testKey),
	}.start(t, os.Interrupt)
	base := s.line(t)
	require.Empty(t, s.line(t))
	assert.Regexp(t, `^Serving the access token of `+srv.AppID+`, which is valid until 20\d\d-`, s.line(t))
	require.Empty(t, s.line(t))
	assert.Equal(t, `  curl -H "Authorization: Bearer $TOKENSERVER_KEY" `+base+"/token", s.line(t))

	source, err := tokenclient.New(base, testKey, &http.Transport{DisableKeepAlives: true})
	require.NoError(t, err)
	token, err := source.Token(t.Context())
	require.NoError(t, err)
	assert.Equal(t, srv.AccessToken(), token.AccessToken)
	wrong, err := tokenclient.New(base, testKey+"x", &http.Transport{DisableKeepAlives: true})
	require.NoError(t, err)
	_, err = wrong.Token(t.Context())
	require.ErrorContains(t, err, "status 401")

	rest, code := s.stop()
	assert.Equal(t, exitOK, code)
	for _, hidden := range []string{testKey, token.AccessToken, srv.Secret} {
		assert.NotContains(t, rest+s.stderr.String(), hidden)
	}
	assert.Equal(t, 1, srv.Calls("/cgi-bin/stable_token"))
}

// Without a token, the server does not say that it has one, and it has one as soon as it can be fetched.
func TestTokenServeWithoutToken(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "There is no access token of " + srv.AppID + " yet: getStableAccessToken: 40164 "},
		{[]string{"--lang", "zh"}, "还没有 " + srv.AppID + " 的 access_token：getStableAccessToken：40164 "},
		{[]string{"--json"}, `"has_token":false`},
	} {
		srv.FailNext("/cgi-bin/stable_token", wechatuser.CodeIPNotAllowed, 1)
		s := invocation{
			args: append([]string{"token", "serve", "--addr", "127.0.0.1:0"}, c.args...),
			env:  append(credentials(srv), "TOKENSERVER_KEY="+testKey),
		}.start(t, os.Interrupt)
		if c.args == nil || c.args[0] == "--lang" {
			_, _ = s.line(t), s.line(t)
		}
		assert.Contains(t, s.line(t), c.want)
		rest, code := s.stop()
		assert.Equal(t, exitOK, code)
		assert.NotContains(t, rest, "valid until")
	}
}

func TestTokenServeJSON(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte(testKey+"\n"), 0o600))
	s := invocation{
		args: []string{"--sandbox", "--json", "token", "serve", "--addr", "127.0.0.1:0", "--key-file", key},
	}.start(t, os.Interrupt)
	var where struct {
		BaseURL   string    `json:"base_url"`
		AppID     string    `json:"appid"`
		HasToken  bool      `json:"has_token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	require.NoError(t, json.Unmarshal([]byte(s.line(t)), &where))
	assert.True(t, where.HasToken)
	assert.True(t, time.Now().Before(where.ExpiresAt))
	source, err := tokenclient.New(where.BaseURL, testKey, &http.Transport{DisableKeepAlives: true})
	require.NoError(t, err)
	_, err = source.Token(t.Context())
	require.NoError(t, err)
}

// With a certificate, the server uses TLS, and names itself as the certificate does.
func TestTokenServeTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	roots := writeCertificate(t, dir)
	s := invocation{
		args: []string{
			"--sandbox", "token", "serve", "--addr", "0.0.0.0:0", "--cert", "cert.pem", "--cert-key", "key.pem",
		},
		env: []string{"TOKENSERVER_KEY=" + testKey}, dir: dir,
	}.start(t, os.Interrupt)
	base := s.line(t)
	require.Regexp(t, `^https://localhost:\d+$`, base)

	source, err := tokenclient.New(base, testKey, &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	})
	require.NoError(t, err)
	token, err := source.Token(t.Context())

	require.NoError(t, err)
	assert.NotEmpty(t, token.AccessToken)
}

// writeCertificate writes a certificate for localhost and its key, and returns the roots that trust it.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert.pem"), certPEM, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), keyPEM, 0o600))
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(certPEM))
	return roots
}

func TestTokenServeArguments(t *testing.T) {
	env := []string{"TOKENSERVER_KEY=" + testKey}
	for want, in := range map[string]invocation{
		"set TOKENSERVER_KEY to at least 32 characters": {env: []string{"TOKENSERVER_KEY=short"}},
		"请将 TOKENSERVER_KEY 设置为至少 32 个字符":               {args: []string{"--lang", "zh"}},
		"no such file":                        {args: []string{"--key-file", "nowhere"}},
		"--cert and --cert-key go together":   {args: []string{"--cert", "x"}, env: env},
		`"8081" must be like 127.0.0.1:8081`:  {args: []string{"--addr", "8081"}, env: env},
		"the token must not be sent in plain": {args: []string{"--addr", "0.0.0.0:0"}, env: env},
		"open nowhere: no such file or directory": {
			args: []string{"--cert", "nowhere", "--cert-key", "nowhere"}, env: env,
		},
	} {
		in.args = append([]string{"--sandbox", "token", "serve"}, in.args...)
		got := in.run(t)
		assert.Equal(t, exitUsage, got.code, want)
		assert.Contains(t, got.stderr, want)
		assert.Empty(t, got.stdout)
	}
	got := invocation{args: []string{"token", "serve"}, env: env}.run(t)
	assert.Equal(t, exitUsage, got.code)
	assert.Contains(t, got.stderr, "no account")
	assert.Contains(t, run(t, "token").stdout, "Serve the access token over HTTP")
}
