package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startRedisServer starts redis-server with these arguments, until the end of the test.
func startRedisServer(t *testing.T, args ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Redis server")
	}
	path, err := exec.LookPath("redis-server")
	require.NoError(t, err, "go test -short skips the tests that need Redis")
	cmd := exec.Command(path, args...)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// newCertificate writes a certificate for 127.0.0.1, which is its own root, and its key.
func newCertificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: public}, key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(block), 0o600))
	}
	return cert, key
}

// The roles connect with TLS, as a user, and through Sentinel, and say what is wrong if they can't.
func TestConnections(t *testing.T) {
	dir := t.TempDir()
	port := func() string {
		p, err := freePort()
		require.NoError(t, err)
		return p
	}
	cert, key := newCertificate(t, dir)
	plain, secure, sentinel := port(), port(), port()
	startRedisServer(t, "--port", plain, "--tls-port", secure, "--bind", "127.0.0.1", "--dir", dir, "--save", "",
		"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no",
		"--user", "worker", "on", ">PASSWORD", "~*", "&*", "+@all")
	conf := filepath.Join(dir, "sentinel.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "port %s\nbind 127.0.0.1\ndir %s\n"+
		"sentinel monitor main 127.0.0.1 %s 1\n", sentinel, dir, plain), 0o600))
	startRedisServer(t, conf, "--sentinel")

	t.Setenv("WECHAT_APPID", "wxFAKE000000000000")
	t.Setenv("WECHAT_SECRET", secret)
	report := func(password string, flags ...string) string {
		t.Setenv("REDIS_PASSWORD", password)
		var out bytes.Buffer
		err := run(t.Context(), append([]string{"report", "-job", "none"}, flags...), &out, io.Discard)
		require.Error(t, err)
		return err.Error()
	}
	const connected = "not complete: 0 of 0 chunks open"
	eventually(t, "the servers are up", func() bool {
		return strings.Contains(report("", "-redis", "127.0.0.1:"+plain), connected) &&
			strings.Contains(report("", "-redis", "127.0.0.1:"+sentinel, "-redis-master", "main"), connected)
	})
	assert.Contains(t,
		report("PASSWORD", "-redis", "127.0.0.1:"+secure, "-redis-ca", cert, "-redis-user", "worker"), connected)

	assert.Contains(t, report("", "-redis", "127.0.0.1:"+secure, "-redis-tls"), "TLS with Redis fails")
	assert.Contains(t,
		report("wrong", "-redis", "127.0.0.1:"+plain, "-redis-user", "worker"), "wrong user name or password")
	assert.Contains(t, report("", "-redis", "127.0.0.1:"+sentinel, "-redis-master", "other"), "Sentinel does not know")
	assert.Contains(t, report("", "-redis-ca", filepath.Join(dir, "none")), "no such file")
	assert.Contains(t, report("", "-redis-ca", key), "no certificate in")
}
