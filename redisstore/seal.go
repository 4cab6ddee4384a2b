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

// record is a token as Redis has it. Encrypted, it is {"sealed":"..."}: nonce, ciphertext and tag in base64.
type record struct {
	AccessToken string    `json:"access_token,omitempty"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	Sealed      []byte    `json:"sealed,omitempty"`
}

// sealer writes and reads records. It encrypts with the first of its keys, and decrypts with all; without keys records
// are plain. The name of a record's key in Redis is sealed in with it, so that values can't be exchanged.
type sealer []cipher.AEAD

func newSealer(keys [][]byte) (sealer, error) {
	s := make(sealer, 0, len(keys))
	for _, key := range keys {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("a key has %d bytes: give 16, 24 or 32", len(key))
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		s = append(s, aead)
	}
	return s, nil
}

func (s sealer) encode(name string, t wechatuser.Token) (string, error) {
	value, err := json.Marshal(record{AccessToken: t.AccessToken, ExpiresAt: t.ExpiresAt})
	if err == nil && len(s) > 0 {
		value, err = json.Marshal(record{Sealed: s[0].Seal(nil, nil, value, []byte(name))})
	}
	return string(value), err
}

// decode reads a record. Its errors show nothing of the value.
func (s sealer) decode(name, value string) (wechatuser.Token, error) {
	r, err := parse([]byte(value))
	switch {
	case err != nil:
	case r.Sealed == nil && len(s) > 0:
		err = errors.New("it is not encrypted")
	case r.Sealed != nil && len(s) == 0:
		err = errors.New("it is encrypted, and there is no key: see WithEncryption")
	case r.Sealed != nil:
		r, err = s.open(name, r.Sealed)
	}
	if err == nil && (r.AccessToken == "" || r.ExpiresAt.IsZero()) {
		err = errors.New("it has no access_token or no expires_at")
	}
	if err != nil {
		return wechatuser.Token{}, fmt.Errorf("redisstore: can't read the token under %q: %w", name, err)
	}
	return wechatuser.Token{AccessToken: r.AccessToken, ExpiresAt: r.ExpiresAt}, nil
}

func (s sealer) open(name string, sealed []byte) (record, error) {
	for _, aead := range s {
		if plain, err := aead.Open(nil, nil, sealed, []byte(name)); err == nil {
			return parse(plain)
		}
	}
	return record{}, errors.New("it was encrypted with another key or for another name, or changed since")
}

func parse(value []byte) (r record, err error) {
	if json.Unmarshal(value, &r) != nil { // whose error may show parts of the value
		err = errors.New("it is not a token in JSON")
	}
	return r, err
}
