// Package welcome is a small backend service that uses the SDK to give new followers a tag and a remark. Its tests show
// the three usual ways to test such a service: with httpmock, with the simulator and with a hand-written fake.
//
//	go test ./examples/httpmock
package welcome

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/wechatuser/wechatuser"
)

// Followers is the part of the SDK that this service needs. *wechatuser.Client implements it.
type Followers interface {
	GetUserInfo(ctx context.Context, openID string, opts ...wechatuser.UserInfoOption) (*wechatuser.UserInfo, error)
	BatchTagging(ctx context.Context, tagID int, openIDs []string) error
	UpdateRemark(ctx context.Context, openID, remark string) error
}

var _ Followers = (*wechatuser.Client)(nil)

// Service handles POST /welcome?openid=….
type Service struct {
	Followers Followers
	TagID     int // tag for new followers
}

// ErrNotFollowing is returned for an openid that does not follow the account.
var ErrNotFollowing = errors.New("not a follower")

// Welcome tags a follower, and sets a remark if they came from a QR code.
func (s *Service) Welcome(ctx context.Context, openID string) (*wechatuser.UserInfo, error) {
	user, err := s.Followers.GetUserInfo(ctx, openID)
	switch {
	case errors.Is(err, wechatuser.CodeInvalidOpenID), err == nil && !user.Subscribed():
		return nil, fmt.Errorf("%s: %w", openID, ErrNotFollowing)
	case err != nil:
		return nil, err
	}
	if err := s.Followers.BatchTagging(ctx, s.TagID, []string{openID}); err != nil {
		return nil, err
	}
	if user.SubscribeScene == wechatuser.SceneQRCode && user.QRSceneStr != "" {
		user.Remark = "扫码 " + user.QRSceneStr
		if err := s.Followers.UpdateRemark(ctx, openID, user.Remark); err != nil {
			return nil, err
		}
	}
	return user, nil
}

// ServeHTTP calls Welcome and maps its result to an HTTP status.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, err := s.Welcome(r.Context(), r.FormValue("openid"))
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(map[string]string{"openid": user.OpenID, "remark": user.Remark})
	case errors.Is(err, wechatuser.ErrInvalidArgument), errors.Is(err, ErrNotFollowing):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, wechatuser.ErrRateLimited), errors.Is(err, wechatuser.ErrTemporary):
		http.Error(w, "try again later", http.StatusServiceUnavailable)
	default:
		http.Error(w, "internal error", http.StatusInternalServerError) // log err, do not return it
	}
}
