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

// Mirror keeps a table of an account's followers up to date. It is safe for concurrent use, also by several processes
// that share the table.
type Mirror struct {
	client *wechatuser.Client
	store  Store
	now    func() time.Time

	fields         []Field
	noProfiles     bool
	keepDepartures bool
	bulk           []wechatuser.BulkOption
	waits          []wechatuser.ListOption
	batch          int // number of openids after which a walk saves its cursor

	opening chan struct{} // has room for the one who opens the store
	opened  atomic.Bool
}

// New returns a mirror of the client's account. It makes no call and does not access the store.
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

// open opens the store once. After a failure it tries again the next time. No caller waits for another one longer than
// ctx allows.
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

// Apply updates the row of the user that an event is about. It calls [wechatuser.Client.GetUserInfo], since a push may
// be late and does not tell the current state. It ignores events that are not about following or about a user's data,
// and returns nil for them, so all events can be passed to it.
//
// If Apply returns an error, return it from the function of the handler, so that the platform repeats the push. If the
// event tells that the user has left, the user's data is deleted even if the call fails.
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
	if errors.Is(err, wechatuser.CodeInvalidOpenID) { // the user's WeChat account no longer exists
		user, err = &wechatuser.UserInfo{OpenID: p.openID}, nil
	}
	switch {
	case err != nil && p.leftAt.IsZero():
		return fmt.Errorf("mirror: Apply: %w", err)
	// If the user followed before the time of leaving, the profile is out of date. In the same second, the user may
	// have come back. The zero time is before all others.
	case err == nil && user.Subscribed() && user.SubscribeTime >= p.leftAt.Unix():
		s.Profile = m.filter(*user)
	default:
		s.LeftAt = p.leftAt
		if s.LeftAt.IsZero() {
			s.LeftAt = s.At
		}
	}
	if err != nil && ctx.Err() != nil { // the call has used up the time; the data must be deleted all the same
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
	}
	if putErr := m.store.Put(ctx, []Statement{s}); putErr != nil || err != nil {
		return fmt.Errorf("mirror: Apply: %w", errors.Join(err, putErr))
	}
	return nil
}

// push is the part of an event that matters to a mirror.
type push struct {
	openID string    // empty if the event is to be ignored
	leftAt time.Time // when the user unfollowed or closed the WeChat account; otherwise zero
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
	case *wechatuserpush.AuthorizationCancellation:
		return push{openID: e.OpenID, leftAt: e.CreateTime}
	case *wechatuserpush.UserInfoModified:
		return push{openID: e.OpenID}
	case *wechatuserpush.AuthorizationRevoke:
		return push{openID: e.OpenID}
	}
	return push{}
}

// filter returns the fields of a profile that are stored.
func (m *Mirror) filter(u wechatuser.UserInfo) *wechatuser.UserInfo {
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
