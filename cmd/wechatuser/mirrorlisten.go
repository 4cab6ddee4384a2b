package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/internal/sandbox"
	"github.com/wechatuser/wechatuser/wechatuserpush"
	"github.com/wechatuser/wechatuser/wechatusertest"
)

const (
	minEvery    = time.Minute     // a comparison takes several of the 500 calls of a day
	sandboxPace = time.Second     // between two pushes of an account in memory
	retryWalk   = time.Hour       // after which a walk is tried again that has failed
	settleLimit = 5 * time.Second // for what is left to do after an interrupt; the platform waits for a push as long
)

// checkListen checks the flags of --listen.
func (a *app) checkListen(cfg mirrorConfig) error {
	switch {
	case !sandbox.IsAddress(cfg.listen):
		return usageError(fmt.Sprintf(a.tr("--listen %q must be like 127.0.0.1:8080", "--listen %q 的格式应为 127.0.0.1:8080"),
			cfg.listen))
	case !strings.HasPrefix(cfg.path, "/"):
		return usageError(fmt.Sprintf(a.tr("--path %q must begin with /", "--path %q 须以 / 开头"), cfg.path))
	case cfg.every <= 0, cfg.every < minEvery && !a.settings.sandbox:
		return usageError(fmt.Sprintf(a.tr("--every must be at least %v", "--every 不能小于 %v"), minEvery))
	}
	return nil
}

// pushService receives pushes.
type pushService struct {
	log                   *slog.Logger
	token, key, beforeKey string
}

// options returns options of the client; a nil service has none.
func (s *pushService) options() []wechatuser.Option {
	if s == nil {
		return nil
	}
	return []wechatuser.Option{wechatuser.WithLogger(s.log)}
}

// newPushService returns a service with the secrets of pushes. An account in memory gets secrets of its own.
func (a *app) newPushService(cfg mirrorConfig) (*pushService, error) {
	s := &pushService{log: slog.New(slog.NewJSONHandler(a.err, nil))}
	if a.settings.sandbox {
		s.token, s.key = rand.Text(), (rand.Text() + rand.Text())[:43]
		return s, nil
	}
	acc, err := a.selectAccount()
	if err != nil {
		return nil, err
	}
	s.token, s.key, s.beforeKey = acc.PushToken, acc.PushAESKey, acc.PushPreviousAESKey
	token, key := "WECHAT_PUSH_TOKEN", "WECHAT_PUSH_AES_KEY"
	if acc.name != "" {
		token, key = "push_token", "push_aes_key"
	}
	switch {
	case s.token == "":
		return nil, usageError(fmt.Sprintf(a.tr("set %s to the Token of pushes in the account's console",
			"请将 %s 设置为微信开发者平台中事件推送的 Token"), token))
	case s.key == "" && !cfg.plain:
		return nil, usageError(fmt.Sprintf(a.tr(
			"set %s to the EncodingAESKey in the account's console, or use --plain for pushes that are not encrypted",
			"请将 %s 设置为微信开发者平台中的 EncodingAESKey；如推送未加密（明文模式），请使用 --plain"), key))
	}
	return s, nil
}

// serveMirror receives pushes, and compares the table with the list at the start and from time to time, until an
// interrupt.
func (a *app) serveMirror(ctx context.Context, c *wechatuser.Client, t *followerTable, s *pushService) (err error) {
	handler, err := wechatuserpush.NewHandler(wechatuserpush.Config{
		AppID: c.AppID(), Token: s.token, EncodingAESKey: s.key, PreviousEncodingAESKey: s.beforeKey, AllowPlain: t.cfg.plain,
		Logger: s.log,
	}, func(ctx context.Context, event wechatuserpush.Event) error {
		err := t.mirror.Apply(ctx, event)
		switch event.(type) {
		case *wechatuserpush.Subscribe, *wechatuserpush.Unsubscribe:
			if err == nil { // otherwise the handler logs it
				s.log.Info("a push was applied", "event", event.PushHeader().Event)
			}
		}
		return err
	})
	if err != nil {
		return usageError(strings.ReplaceAll(err.Error(), "wechatuserpush: NewHandler: ", ""))
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", t.cfg.listen)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           onPath(t.cfg.path, handler),
		ReadHeaderTimeout: settleLimit, ReadTimeout: settleLimit,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	url := "http://" + listener.Addr().String() + t.cfg.path
	var printErr error
	if a.json {
		printErr = a.printJSON(map[string]any{"url": url, "appid": c.AppID(), "database": t.Name})
	} else {
		fmt.Fprintln(a.out, url) // first, for scripts
	}
	ctx, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	if a.sandboxed != nil {
		others.Go(func() { a.sandboxed.pushTo(ctx, url, s) })
	}
	walked := make(chan error, 1)
	others.Go(func() { walked <- a.keepWalking(ctx, t, s.log) })
	select {
	case err = <-served:
	case err = <-walked:
	}
	stop()
	others.Wait()
	// Pushes that have arrived are settled.
	shutdownCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	if srv.Shutdown(shutdownCtx) != nil {
		_ = srv.Close()
	}
	return cmp.Or(err, printErr)
}

// onPath is a handler for one path; the others are not found.
func onPath(path string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// keepWalking makes a full walk and then, from time to time, one for the pushes that were lost, and with --profiles for
// what no push tells about. A walk that fails is made again. It returns at an interrupt, with an error if that has
// stopped a walk.
func (a *app) keepWalking(ctx context.Context, t *followerTable, log *slog.Logger) error {
	name, opts := walkFull, t.walkOptions()
	for {
		walk := t.mirror.Full
		if name == walkReconcile {
			walk = t.mirror.Reconcile
		}
		start := time.Now()
		report, err := walk(ctx, opts...)
		err = a.printWalk(ctx, t, name, report, time.Since(start), err)
		if ctx.Err() != nil {
			return err
		}
		wait := t.cfg.every
		switch {
		case err != nil:
			wait = min(wait, retryWalk)
			log.Warn("the table was not compared with the list of followers", "error", a.explain(err), "again in", wait.String())
		case name == walkReconcile && report.Added > 0 && !t.cfg.noProfiles:
			name, wait = walkFull, 0 // which reads the profiles of those
		case t.cfg.profiles < 0:
			name = walkReconcile
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// pushTo lets the account in memory push to a URL, and lets users come and go.
func (acc *sandboxAccount) pushTo(ctx context.Context, url string, s *pushService) {
	acc.SetPushes(wechatusertest.PushConfig{
		URL: url, Token: s.token, EncodingAESKey: s.key, Mode: wechatusertest.PushSafe, Transport: &http.Transport{},
	})
	if err := acc.VerifyPushURL(ctx); err != nil {
		s.log.Warn("the account in memory cannot reach the URL", "error", err.Error())
	}
	ticker := time.NewTicker(sandboxPace)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if following := acc.OpenIDs(); n%2 == 1 && len(following) > 0 {
			acc.Unfollow(following[0])
		} else {
			acc.Follow(newcomer(following))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// newcomer returns a user who does not follow yet.
func newcomer(following []string) string {
	known := make(map[string]bool, len(following))
	for _, openID := range following {
		known[openID] = true
	}
	for n := len(following); ; n++ {
		if openID := wechatusertest.OpenID(n); !known[openID] {
			return openID
		}
	}
}
