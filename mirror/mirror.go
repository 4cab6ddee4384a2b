package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/wechatuser/wechatuser"
	"github.com/wechatuser/wechatuser/wechatuserpush"
)

// Mirror keeps a table of an account's followers true. It is safe for concurrent use, by any number of processes.
type Mirror struct {
	client *wechatuser.Client
	store  Store
	now    func() time.Time

	fields         []Field
	noProfiles     bool
	keepDepartures bool
	bulk           []wechatuser.BulkOption
	waits          []wechatuser.ListOption
	batch          int // openids between two places where a walk can resume

	opening chan struct{} // has room for the one who opens the store
	opened  atomic.Bool
}

// New returns a mirror of the client's account. It makes no call, and does not use the store yet.
func New(client *wechatuser.Client, store Store, opts ...Option) (*Mirror, error) {
	if client == nil || store == nil {
		return nil, errors.New("mirror: New: the client and the store must not be nil")
	}
	m := &Mirror{
		client: client, store: store, now: time.Now, fields: allFields, batch: 1000, opening: make(chan struct{}, 1),
	}
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("mirror: New: option %d is nil", i+1)
		}
		if err := opt(m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// open opens the store once. A failure is not remembered. Nobody waits for others for longer than ctx allows.
func (m *Mirror) open(ctx context.Context) error {
	if m.opened.Load() {
		return nil
	}
	select {
	case m.opening <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the store to be opened: %w", ctx.Err())
	}
	defer func() { <-m.opening }()
	if m.opened.Load() {
		return nil
	}
	if err := m.store.Open(ctx, m.client.AppID()); err != nil {
		return err
	}
	m.opened.Store(true)
	return nil
}

// Apply brings the row of the user up to date that a push is about. It makes one call, since a push can be late, and
// only the platform knows what is so now. Pushes that are not about following or about a user's data are ignored, with
// a nil error, so all pushes can be passed to it.
//
// If an error is returned, let the platform send the push again, which a handler does that returns the error. Of a user
// who has left, everything is deleted even if the call fails.
func (m *Mirror) Apply(ctx context.Context, e wechatuserpush.Event) error {
	p := readPush(e)
	if p.openID == "" {
		return nil
	}
	if err := m.open(ctx); err != nil {
		return fmt.Errorf("mirror: Apply: %w", err)
	}
	s := Statement{At: m.now(), OpenID: p.openID}
	var err error
	if s.Ticket, err = m.store.Ticket(ctx); err != nil {
		return fmt.Errorf("mirror: Apply: %w", err)
	}
	user, err := m.client.GetUserInfo(ctx, p.openID)
	if errors.Is(err, wechatuser.CodeInvalidOpenID) { // the WeChat account does not exist anymore
		user, err = &wechatuser.UserInfo{OpenID: p.openID}, nil
	}
	switch {
	case err != nil && p.leftAt.IsZero():
		return fmt.Errorf("mirror: Apply: %w", err)
	// A profile from before the user left is out of date. In the same second, the user may have come back. The zero time
	// is before all others.
	case err == nil && user.Subscribed() && user.SubscribeTime >= p.leftAt.Unix():
		s.Profile = m.keep(*user)
	default:
		s.LeftAt = p.leftAt
		if s.LeftAt.IsZero() {
			s.LeftAt = s.At
		}
	}
	if err != nil && ctx.Err() != nil { // the call has used up the time of the push
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
	}
	if putErr := m.store.Put(ctx, []Statement{s}); putErr != nil || err != nil {
		return fmt.Errorf("mirror: Apply: %w", errors.Join(err, putErr))
	}
	return nil
}

// push is what a push says that concerns a mirror.
type push struct {
	openID string    // empty if it does not concern a mirror
	leftAt time.Time // zero unless it says that the user has left, or has closed the WeChat account
}

func readPush(e wechatuserpush.Event) push {
	if e == nil {
		return push{}
	}
	switch e := e.(type) {
	case *wechatuserpush.Subscribe:
		return push{openID: e.FromUserName}
	case *wechatuserpush.Unsubscribe:
		return push{openID: e.FromUserName, leftAt: e.CreateTime}
	case *wechatuserpush.AuthorizationCancellation: // the user has closed the WeChat account
		return push{openID: e.OpenID, leftAt: e.CreateTime}
	case *wechatuserpush.UserInfoModified:
		return push{openID: e.OpenID}
	case *wechatuserpush.AuthorizationRevoke:
		return push{openID: e.OpenID}
	}
	return push{}
}

// keep returns the part of a profile that is stored.
func (m *Mirror) keep(u wechatuser.UserInfo) *wechatuser.UserInfo {
	kept := wechatuser.UserInfo{OpenID: u.OpenID, Subscribe: u.Subscribe, SubscribeTime: u.SubscribeTime}
	if m.noProfiles {
		return &kept
	}
	for _, f := range m.fields {
		switch f {
		case FieldUnionID:
			kept.UnionID = u.UnionID
		case FieldRemark:
			kept.Remark = u.Remark
		case FieldTags:
			kept.TagIDList = slices.Sorted(slices.Values(u.TagIDList))
		case FieldScene:
			kept.SubscribeScene = u.SubscribeScene
		case FieldQRScene:
			kept.QRScene, kept.QRSceneStr = u.QRScene, u.QRSceneStr
		}
	}
	return &kept
}
