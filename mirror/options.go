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

// The fields that a mirror can keep. When the user last followed the account is always kept.
const (
	FieldUnionID Field = "unionid"
	FieldRemark  Field = "remark"
	FieldTags    Field = "tags"
	FieldScene   Field = "scene"    // how the follower came to the account
	FieldQRScene Field = "qr_scene" // the scene of the QR code that was scanned
)

var allFields = []Field{FieldUnionID, FieldRemark, FieldTags, FieldScene, FieldQRScene}

// WithFields keeps only these fields of a profile. By default all of them are kept. Keep no more than you need: what
// the table does not have cannot leak.
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

// WithoutProfiles keeps openids and times only. [Mirror.Full] then reads no profile. [Mirror.Apply] still makes its one
// call for each push, because the response says whether the user follows, and so do [Mirror.Full] and
// [Mirror.Reconcile] before they remove anybody.
func WithoutProfiles() Option {
	return func(m *Mirror) error {
		m.noProfiles = true
		return nil
	}
}

// WithDepartures keeps the rows of former followers for good. By default [Mirror.Full] and [Mirror.Reconcile] delete
// those that are older than two days. In both cases the openid and the profile are deleted at once: such a row has only
// a hash of the openid, when the user left, and when the row was written.
func WithDepartures() Option {
	return func(m *Mirror) error {
		m.keepDepartures = true
		return nil
	}
}

// WithPatience makes walks wait for the end of an outage for up to d, as [wechatuser.WithPatience] does. By default
// they end, and the next one resumes.
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

// WithConcurrency lets a walk read profiles with up to n calls at a time, as [wechatuser.WithConcurrency] does.
// Defaults to 4.
func WithConcurrency(n int) Option {
	return func(m *Mirror) error {
		if n < 1 {
			return fmt.Errorf("mirror: WithConcurrency: %d calls at a time: it must be at least 1", n)
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

// WithProfilesOlderThan makes [Mirror.Full] read the profiles that were read longer than age ago too; 0 stands for all.
// Pushes do not tell of a new remark or tag, so this is how the table learns of them. It costs one call for each 100
// profiles. It has no effect on [Mirror.Reconcile].
func WithProfilesOlderThan(age time.Duration) WalkOption {
	return func(cfg *walkConfig) error {
		if age < 0 {
			return fmt.Errorf("mirror: WithProfilesOlderThan: %v is negative", age)
		}
		cfg.olderThan = &age
		return nil
	}
}

// WithMassRemoval allows a walk to remove more than half of the followers. Without it, that is [ErrMassRemoval].
func WithMassRemoval() WalkOption {
	return func(cfg *walkConfig) error {
		cfg.massRemoval = true
		return nil
	}
}

// WithProgress calls f after each step of a walk, in the goroutine that runs it.
func WithProgress(f func(Progress)) WalkOption {
	return func(cfg *walkConfig) error {
		if f == nil {
			return errors.New("mirror: WithProgress: nil function: leave the option out for none")
		}
		cfg.progress = f
		return nil
	}
}
