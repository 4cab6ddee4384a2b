package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/cmd/wechatuser/internal/tokenserver"
	"github.com/wechatuser/wechatuser/internal/sandbox"
)

func (a *app) tokenCommand() *cobra.Command {
	cmd := a.command(&cobra.Command{
		Use:     "token",
		Short:   a.tr("Hand out the access token to other programs", "向其他程序提供 access_token"),
		Example: "  wechatuser token serve",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	})
	cmd.AddCommand(a.tokenServeCommand())
	return cmd
}

// tokenService holds the flags of "token serve".
type tokenService struct {
	addr, cert, certKey, keyFile string
}

// minTokenKey is the minimum length of the key, which protects the token like the app secret does.
const minTokenKey = 32

func (a *app) tokenServeCommand() *cobra.Command {
	var set tokenService
	cmd := &cobra.Command{
		Use:   "serve",
		Short: a.tr("Serve the access token over HTTP", "通过 HTTP 提供 access_token"),
		Long: a.tr(`Serve the access token of the account to programs that have a key. Only this server needs the app
secret. All programs need an entry in the IP whitelist, since WeChat checks it for calls with a token too.

  GET  /token           returns {"access_token": …, "expires_in": seconds}
  POST /token/refused   reports that WeChat rejected {"access_token": …}, and returns the current token

Both need the header "Authorization: Bearer KEY". The key is in TOKENSERVER_KEY, or in a file that --key-file names. Go
programs use package github.com/wechatuser/wechatuser/examples/tokenclient, or a copy of it, as their TokenSource. An
address other than loopback needs a certificate. If there is a Redis server, package redisstore shares the token without
a service of its own.`,
			`向持有密钥的程序提供账号的 access_token，只有本服务需要 AppSecret。所有程序的 IP 仍须加入白名单，因为带 access_token 的调用
同样会检查 IP 白名单。

  GET  /token           返回 {"access_token": …, "expires_in": 秒数}
  POST /token/refused   报告 {"access_token": …} 已被微信拒绝，并返回当前的 access_token

请求须带 "Authorization: Bearer 密钥"。密钥取自 TOKENSERVER_KEY，或 --key-file 指定的文件。Go 程序可使用（或复制）
github.com/wechatuser/wechatuser/examples/tokenclient 包作为 TokenSource。监听非本机回环地址时须提供证书。
如有 Redis，可用 redisstore 包共享 access_token，无需单独部署服务。`),
		Example: `  export TOKENSERVER_KEY=$(openssl rand -hex 32)
  wechatuser token serve
  wechatuser token serve --addr :8443 --cert cert.pem --cert-key key.pem`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serveToken(cmd.Context(), set) },
	}
	flags := cmd.Flags()
	flags.StringVar(&set.addr, "addr", "127.0.0.1:8081",
		a.tr("`address` to listen on; port 0 picks a free port", "监听`地址`；端口为 0 时自动选择空闲端口"))
	flags.StringVar(&set.cert, "cert", "", a.tr("`file` with the TLS certificate", "TLS 证书`文件`"))
	flags.StringVar(&set.certKey, "cert-key", "", a.tr("`file` with its private key", "证书私钥`文件`"))
	flags.StringVar(&set.keyFile, "key-file", "",
		a.tr("`file` with the key of the programs; default: TOKENSERVER_KEY", "密钥`文件`，默认取自 TOKENSERVER_KEY"))
	return a.command(cmd)
}

func (a *app) serveToken(ctx context.Context, set tokenService) error {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	key, err := a.tokenKey(set.keyFile)
	if err != nil {
		return err
	}
	if (set.cert == "") != (set.certKey == "") {
		return usageError(a.tr("--cert and --cert-key go together", "--cert 和 --cert-key 必须同时设置"))
	}
	log := slog.New(slog.NewJSONHandler(a.err, nil))
	c, err := a.client(ctx, wechatuser.WithLogger(log))
	if err != nil {
		return err
	}
	defer c.HTTPClient().CloseIdleConnections()
	listener, base, err := a.listen(ctx, set)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: tokenserver.New(c, key, log), ReadHeaderTimeout: 5 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	if !a.json {
		fmt.Fprintln(a.out, base) // first, for scripts
	}
	token, tokenErr := c.Token(ctx)
	if ctx.Err() == nil {
		err = a.printTokenService(base, c.AppID(), token, tokenErr)
	}
	if err == nil {
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
		}
	}
	shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if srv.Shutdown(shutdownCtx) != nil {
		_ = srv.Close() // a request takes too long
	}
	return err
}

// tokenKey returns the key with which programs authenticate.
func (a *app) tokenKey(file string) (string, error) {
	key := a.env("TOKENSERVER_KEY")
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", &exitError{exitUsage, err}
		}
		key = strings.TrimSpace(string(text))
	}
	if len(key) < minTokenKey {
		return "", usageError(fmt.Sprintf(a.tr(
			"set TOKENSERVER_KEY to at least %d characters: export TOKENSERVER_KEY=$(openssl rand -hex 32)",
			"请将 TOKENSERVER_KEY 设置为至少 %d 个字符：export TOKENSERVER_KEY=$(openssl rand -hex 32)"), minTokenKey))
	}
	return key, nil
}

// listen returns a listener and its base URL. With a certificate, it uses TLS.
func (a *app) listen(ctx context.Context, set tokenService) (net.Listener, string, error) {
	var cert tls.Certificate
	if set.cert != "" {
		var err error
		if cert, err = tls.LoadX509KeyPair(set.cert, set.certKey); err != nil {
			return nil, "", &exitError{exitUsage, err}
		}
	}
	if !sandbox.IsAddress(set.addr) {
		return nil, "", usageError(fmt.Sprintf(
			a.tr("--addr %q must be like 127.0.0.1:8081", "--addr %q 的格式应为 127.0.0.1:8081"), set.addr))
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", set.addr)
	if err != nil {
		return nil, "", err
	}
	at, _ := listener.Addr().(*net.TCPAddr)
	if set.cert == "" {
		if !at.IP.IsLoopback() {
			text := a.tr("the token must not be sent in plain text: set --cert and --cert-key, or a loopback --addr",
				"access_token 不能明文传输：请设置 --cert 和 --cert-key，或将 --addr 设为本机回环地址")
			return nil, "", errors.Join(usageError(text), listener.Close())
		}
		return listener, "http://" + at.String(), nil
	}
	name := at.IP.String()
	if names := cert.Leaf.DNSNames; len(names) > 0 { // the name by which programs can verify the certificate
		name = names[0]
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	return tls.NewListener(listener, config), "https://" + net.JoinHostPort(name, fmt.Sprint(at.Port)), nil
}

// printTokenService prints whether a token is available, and how to get it.
func (a *app) printTokenService(base, appID string, token wechatuser.Token, tokenErr error) error {
	if a.json {
		out := map[string]any{"base_url": base, "appid": appID, "has_token": tokenErr == nil}
		if tokenErr != nil {
			out["error"] = a.explain(tokenErr)
		} else {
			out["expires_at"] = token.ExpiresAt.UTC().Truncate(time.Second)
		}
		return a.printJSON(out)
	}
	if tokenErr != nil {
		fmt.Fprintf(a.out, a.tr(
			"\nThere is no access token of %s yet: %s\nRequests have status 502 until it can be fetched.\n",
			"\n还没有 %s 的 access_token：%s\n获取成功之前，请求将返回状态码 502。\n"), appID, a.explain(tokenErr))
	} else {
		fmt.Fprintf(a.out, a.tr("\nServing the access token of %s, which is valid until %s.\n",
			"\n正在提供 %s 的 access_token，有效期至 %s。\n"), appID, token.ExpiresAt.Local().Format(time.DateTime))
	}
	_, err := fmt.Fprintf(a.out, "\n  curl -H \"Authorization: Bearer $TOKENSERVER_KEY\" %s/token\n\n%s\n",
		base, a.tr("Press Ctrl-C to stop.", "按 Ctrl-C 停止。"))
	return err
}
