// Package sandbox serves an in-memory Official Account on a port, for programs in any language, with a web page to
// inspect it and to simulate faults. The command "wechatuser sandbox" and examples/sandbox run it.
package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser/wechatusertest"
)

// sandbox serves the account and its page.
type sandbox struct {
	account *wechatusertest.Server
	quirks  wechatusertest.Quirks
	state   *StateFile
	guard   *guard
	push    atomic.Pointer[wechatusertest.PushConfig] // nil until there is a URL

	mu sync.Mutex // one action at a time
}

// Run prints where the account is, serves it until ctx is done, and then saves it.
func Run(ctx context.Context, c *Config, stdout, stderr io.Writer) error {
	return Localize(run(ctx, c, stdout, stderr), bool(c.lang))
}

func run(ctx context.Context, c *Config, stdout, stderr io.Writer) error {
	if err := c.Check(); err != nil {
		return err
	}
	account, err := c.account(stderr)
	if err != nil {
		return err
	}
	defer account.Close()
	state := &StateFile{Path: c.state, Account: account}
	if err := state.Open(); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.addr)
	if err != nil {
		return err
	}
	sb := &sandbox{account: account, quirks: c.quirks, state: state, guard: newGuard(c.addr, listener.Addr())}
	if p := c.pushConfig(); p.URL != "" {
		sb.setPushes(p)
	}
	if sb.guard.exposed {
		fmt.Fprintln(stderr, exposedWarning.in(c.lang))
	}
	if err := c.printStart(stdout, "http://"+dialAddress(listener.Addr()), account); err != nil {
		return errors.Join(err, listener.Close())
	}
	err = serve(ctx, listener, sb.handler())
	if saveErr := state.Save(); saveErr != nil {
		return errors.Join(err, saveErr)
	}
	if state.Path != "" && !c.JSON {
		fmt.Fprintln(stdout, c.lang.tr("Saved the account to ", "账号已保存到 ")+state.Path)
	}
	return err
}

var exposedWarning = say("warning: not a loopback address: anyone who can reach it can read and change the account",
	"警告：监听的不是本机回环地址，能访问该地址的任何人都可以查看和修改此账号")

// printStart prints the base URL first, for scripts.
func (c *Config) printStart(w io.Writer, base string, account *wechatusertest.Server) error {
	appID, secret, fans := account.AppID, account.Secret, account.Totals().Followers
	if c.JSON {
		return json.NewEncoder(w).Encode(map[string]any{
			"base_url": base, "page": base + "/", "appid": appID, "secret": secret, "followers": fans,
		})
	}
	_, err := fmt.Fprintf(w, c.lang.tr(`%[1]s

In-memory Official Account: app ID %[2]s, %[4]d followers. The web page is at %[1]s/

  curl '%[1]s/cgi-bin/token?grant_type=client_credential&appid=%[2]s&secret=%[3]s'
  curl '%[1]s/cgi-bin/user/get?access_token=ACCESS_TOKEN'

In an SDK, replace https://api.weixin.qq.com with the base URL. Press Ctrl-C to stop.
`, `%[1]s

内存中的模拟公众号：AppID %[2]s，共 %[4]d 个用户。网页地址：%[1]s/

  curl '%[1]s/cgi-bin/token?grant_type=client_credential&appid=%[2]s&secret=%[3]s'
  curl '%[1]s/cgi-bin/user/get?access_token=ACCESS_TOKEN'

使用 SDK 时，将 https://api.weixin.qq.com 替换为上面的地址。按 Ctrl-C 停止。
`), base, appID, secret, fans)
	return err
}

// dialAddress returns the address to connect to: loopback if the listener uses all addresses of the machine.
func dialAddress(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return addr.String()
}

// grace is the time for calls in flight to complete when the sandbox stops.
const grace = 5 * time.Second

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	graceCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := srv.Shutdown(graceCtx); err != nil {
		_ = srv.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
