package redisstore

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wechatuser/wechatuser"
)

// storedToken is a token as it is stored in Redis: either in plain text or encrypted.
type storedToken struct {
	AccessToken string    `json:"access_token,omitempty"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	Encrypted   []byte    `json:"sealed,omitempty"` // nonce, ciphertext and tag, in base64
}

// codec encodes tokens for Redis and decodes them. It encrypts with the first of its keys and decrypts with any of
// them; without keys it stores plain text. The name of the Redis key is authenticated with the value, so that a value
// can't be moved to another key.
type codec []cipher.AEAD

func newCodec(keys [][]byte) (codec, error) {
	c := make(codec, 0, len(keys))
	for _, key := range keys {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("invalid key size %d: a key has 16, 24 or 32 bytes", len(key))
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		c = append(c, aead)
	}
	return c, nil
}

func (c codec) encode(name string, t wechatuser.Token) (string, error) {
	value, err := json.Marshal(storedToken{AccessToken: t.AccessToken, ExpiresAt: t.ExpiresAt})
	if err == nil && len(c) > 0 {
		value, err = json.Marshal(storedToken{Encrypted: c[0].Seal(nil, nil, value, []byte(name))})
	}
	return string(value), err
}

// errNotJSON and errIncomplete report a value that was not written by a Store.
var (
	errNotJSON    = fmt.Errorf("%w: not JSON", wechatuser.ErrUnreadableToken)
	errIncomplete = fmt.Errorf("%w: access_token or expires_at is missing", wechatuser.ErrUnreadableToken)
)

// decode decodes a value. Its errors contain no part of the value; they match [wechatuser.ErrUnreadableToken] if the
// value may be replaced.
func (c codec) decode(name, value string) (wechatuser.Token, error) {
	stored, err := parse([]byte(value))
	switch {
	case err != nil:
	case stored.Encrypted == nil && (stored.AccessToken == "" || stored.ExpiresAt.IsZero()):
		err = errIncomplete
	case stored.Encrypted == nil && len(c) > 0:
		err = errors.New("not encrypted")
	case stored.Encrypted != nil && len(c) == 0:
		err = errors.New("encrypted, but the store has no key: see WithEncryption")
	case stored.Encrypted != nil:
		stored, err = c.decrypt(name, stored.Encrypted)
	}
	if err != nil {
		return wechatuser.Token{}, fmt.Errorf("redisstore: invalid token under %q: %w", name, err)
	}
	return wechatuser.Token{AccessToken: stored.AccessToken, ExpiresAt: stored.ExpiresAt}, nil
}

func (c codec) decrypt(name string, encrypted []byte) (storedToken, error) {
	for _, aead := range c {
		if plain, err := aead.Open(nil, nil, encrypted, []byte(name)); err == nil {
			return parse(plain)
		}
	}
	return storedToken{}, errors.New("encrypted with another key or for another name, or modified")
}

func parse(value []byte) (stored storedToken, err error) {
	if json.Unmarshal(value, &stored) != nil { // the error of encoding/json may quote the value
		err = errNotJSON
	}
	return stored, err
}
