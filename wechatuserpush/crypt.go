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

// sign returns the platform's signature of some texts: the SHA-1 of the sorted and concatenated texts.
func sign(parts ...string) string {
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, ""))) //nolint:gosec // the platform's signature
	return hex.EncodeToString(sum[:])
}

// isSigned reports whether a signature is right. It compares in constant time.
func isSigned(signature string, parts ...string) bool {
	return subtle.ConstantTimeCompare([]byte(signature), []byte(sign(parts...))) == 1
}

// keyChars is the length of an EncodingAESKey: 32 bytes in base64, without the "=" at the end.
const keyChars = 43

// parseKey decodes an EncodingAESKey. Its errors quote nothing of the key.
func parseKey(text string) ([]byte, error) {
	if len(text) != keyChars {
		return nil, fmt.Errorf("%d characters: an EncodingAESKey has %d", len(text), keyChars)
	}
	// The last character has 2 unused bits, which need not be zero. Decoding skips line breaks, which makes it shorter.
	key, err := base64.StdEncoding.DecodeString(text + "=")
	if err != nil || len(key) != 32 {
		return nil, errors.New("it has a character that is none of A-Z, a-z and 0-9")
	}
	return key, nil
}

// maxPadding is the largest padding: PKCS#7 to a multiple of 32 bytes.
const maxPadding = 32

// errDecrypt is the only error of decryption, so that it does not reveal which check has failed.
var errDecrypt = errors.New("the push cannot be decrypted: it is encrypted with another EncodingAESKey, or for " +
	"another AppID")

// decrypt decrypts the Encrypt element of a push with the first key that fits. It tries all keys, and checks the
// padding, the length and the AppID with each, before it returns.
//
// The signature of the text must have been checked. Then only the platform can make it decrypt a text, and its duration
// is no oracle.
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

// prefix is the number of bytes before the message: 16 random bytes, and 4 bytes with the length of the message.
const prefix = 16 + 4

// decryptWith decrypts data, which consists of at least two whole blocks. It makes all checks, each of which yields 1
// or 0, even if one fails.
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
