package mirror

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wechatuser/wechatuser"
)

// Option configures a [Mirror].
type Option func(*Mirror) error

// Field is a part of a profile.
type Field string

// The fields that a mirror can keep. The time when the user last followed the account is always kept.
const (
	FieldUnionID Field = "unionid"
	FieldRemark  Field = "remark"
	FieldTags    Field = "tags"     // the IDs of the user's tags
	FieldScene   Field = "scene"    // how the follower came to the account
	FieldQRScene Field = "qr_scene" // the scene of the QR code that was scanned
)

var allFields = []Field{FieldUnionID, FieldRemark, FieldTags, FieldScene, FieldQRScene}

// WithFields keeps only these fields of a profile. By default all are kept. Keep no more than you need: data that is
// not stored cannot leak.
func WithFields(fields ...Field) Option {
	return func(m *Mirror) error {
		for _, f := range fields {
			if !slices.Contains(allFields, f) {
				return fmt.Errorf("mirror: WithFields: unknown field %q", f)
			}
		}
		m.fields = slices.Clone(fields)
		return nil
	}
}

// WithoutProfiles keeps only openids and times. [Mirror.Full] then does not read the profiles of new followers.
// Profiles are still read, but not stored, to tell whether a user follows: by [Mirror.Apply] for each push, and by
// [Mirror.Full] and [Mirror.Reconcile] before they remove a follower.
func WithoutProfiles() Option {
	return func(m *Mirror) error {
		m.noProfiles = true
		return nil
	}
}

// WithDepartures keeps the rows of former followers forever. By default [Mirror.Full] and [Mirror.Reconcile] delete
// them after two days. The openid and the profile are deleted at once in both cases: such a row has only a hash of the
// openid, the time when the user left, the time when the platform was asked, and the tickets.
func WithDepartures() Option {
	return func(m *Mirror) error {
		m.keepDepartures = true
		return nil
	}
}

// WithPatience makes walks wait up to d for the end of an outage; see [wechatuser.WithPatience]. By default a walk
// fails, and the next one resumes it.
func WithPatience(d time.Duration) Option {
	return func(m *Mirror) error {
		if d < 0 {
			return fmt.Errorf("mirror: WithPatience: %v is negative", d)
		}
		m.bulk = append(m.bulk, wechatuser.WithPatience(d))
		m.waits = append(m.waits, wechatuser.WithPatience(d))
		return nil
	}
}

// WithConcurrency sets the maximum number of calls with which a walk reads profiles at a time; see
// [wechatuser.WithConcurrency]. It defaults to 4.
func WithConcurrency(n int) Option {
	return func(m *Mirror) error {
		if n < 1 {
			return fmt.Errorf("mirror: WithConcurrency: %d: it must be at least 1", n)
		}
		m.bulk = append(m.bulk, wechatuser.WithConcurrency(n))
		return nil
	}
}

// WalkOption configures one run of [Mirror.Full] or [Mirror.Reconcile].
type WalkOption func(*walkConfig) error

type walkConfig struct {
	olderThan   *time.Duration
	massRemoval bool
	progress    func(Progress)
}

// WithProfilesOlderThan makes [Mirror.Full] also read profiles again that are older than age; 0 means all profiles. By
// default it reads only missing ones. No push tells that a remark or the tags of a user have changed, so the table
// needs this to be up to date. It costs one call for each 100 profiles. It has no effect on [Mirror.Reconcile].
func WithProfilesOlderThan(age time.Duration) WalkOption {
	return func(cfg *walkConfig) error {
		if age < 0 {
			return fmt.Errorf("mirror: WithProfilesOlderThan: %v is negative", age)
		}
		cfg.olderThan = &age
		return nil
	}
}

// WithMassRemoval allows a walk to remove more than half of the followers. Without it the walk fails with
// [ErrMassRemoval].
func WithMassRemoval() WalkOption {
	return func(cfg *walkConfig) error {
		cfg.massRemoval = true
		return nil
	}
}

// WithProgress calls f after each step of a walk, up to 1,000 followers, in the goroutine that called [Mirror.Full] or
// [Mirror.Reconcile].
func WithProgress(f func(Progress)) WalkOption {
	return func(cfg *walkConfig) error {
		if f == nil {
			return errors.New("mirror: WithProgress: nil function: leave the option out for none")
		}
		cfg.progress = f
		return nil
	}
}
