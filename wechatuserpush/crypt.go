package wechatuserpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1" //nolint:gosec // the platform's signature
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// sign returns the platform's signature of some texts: the SHA-1 of them, sorted and put together.
func sign(parts ...string) string {
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, ""))) //nolint:gosec // the platform's signature
	return hex.EncodeToString(sum[:])
}

// isSigned compares a signature with the right one, in a time that tells nothing about the latter.
func isSigned(signature string, parts ...string) bool {
	return subtle.ConstantTimeCompare([]byte(signature), []byte(sign(parts...))) == 1
}

// keyChars is the length of an EncodingAESKey: 32 bytes in base64, without the "=" at the end.
const keyChars = 43

// parseKey returns the bytes of an EncodingAESKey. Its errors quote nothing of the key.
func parseKey(text string) ([]byte, error) {
	if len(text) != keyChars {
		return nil, fmt.Errorf("%d characters: an EncodingAESKey has %d", len(text), keyChars)
	}
	// The last character has 2 bits too many, which need not be zero. A line break would be skipped.
	key, err := base64.StdEncoding.DecodeString(text + "=")
	if err != nil || len(key) != 32 {
		return nil, errors.New("it has a character that is none of A-Z, a-z and 0-9")
	}
	return key, nil
}

// maxPadding is the largest padding: PKCS#7 to a multiple of 32 bytes.
const maxPadding = 32

// errDecrypt is the only error of decryption, whatever is wrong.
var errDecrypt = errors.New("the push cannot be decrypted: it is encrypted with another EncodingAESKey, or for " +
	"another AppID")

// decrypt decrypts what a push has in Encrypt, with the first of the keys that fits. It tries all keys, and checks
// padding, length and AppID of each, before it tells whether one fits.
//
// It must be called with a text whose signature is right. So nobody but the platform can make it decrypt anything, and
// its time is no oracle.
func decrypt(encrypted string, keys [][]byte, appID string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(encrypted)
	if err != nil || len(data) < maxPadding || len(data)%aes.BlockSize != 0 {
		return nil, errDecrypt
	}
	var message []byte
	for _, key := range keys {
		if m, ok := decryptWith(key, data, appID); ok && message == nil {
			message = m
		}
	}
	if message == nil {
		return nil, errDecrypt
	}
	return message, nil
}

// prefix is the length of what stands before the message: 16 random bytes and its length in 4 bytes.
const prefix = 16 + 4

// decryptWith decrypts data, which has whole blocks, at least two. No check ends it early: each yields 1 or 0.
func decryptWith(key, data []byte, appID string) (message []byte, ok bool) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, false
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, key[:aes.BlockSize]).CryptBlocks(plain, data)

	padding := int(plain[len(plain)-1])
	good := subtle.ConstantTimeLessOrEq(1, padding) & subtle.ConstantTimeLessOrEq(padding, maxPadding)
	for i := range maxPadding {
		isPadding := subtle.ConstantTimeLessOrEq(i+1, padding)
		good &= (isPadding ^ 1) | subtle.ConstantTimeByteEq(plain[len(plain)-1-i], byte(padding))
	}
	room := len(plain) - prefix - padding // for the message and the AppID
	length := int64(binary.BigEndian.Uint32(plain[prefix-4:]))
	if room < 0 || length > int64(room) {
		good, room, length = 0, 0, 0
	}
	end := prefix + int(length)
	good &= subtle.ConstantTimeCompare(plain[end:prefix+room], []byte(appID))
	return plain[prefix:end:end], good == 1
}
