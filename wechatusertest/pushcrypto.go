package wechatusertest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
)

// This file has the platform's signatures and encryption of pushes. It shares no code with package wechatuserpush.
// https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/Technical_Plan.html

// pushSignature returns the SHA-1 of the sorted parts. The parts of the parameter "signature" are the Token, the
// timestamp and the nonce; "msg_signature" has Encrypt as well.
func pushSignature(parts ...string) string {
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

// shortHash returns 28 characters of [A-Za-z0-9_-] that depend on the parts.
func shortHash(parts ...string) string {
	sum := sha1.Sum([]byte(strings.Join(parts, "\n")))
	return base64.RawURLEncoding.EncodeToString(append(sum[:], 0))
}

const (
	aesKeyLen    = 43 // the length of an EncodingAESKey
	paddedTo     = 32
	randomPrefix = 16
)

var errAESKey = errors.New("EncodingAESKey must have 43 letters and digits")

// decodeAESKey decodes an EncodingAESKey.
func decodeAESKey(text string) ([]byte, error) {
	isAlphanumeric := func(c rune) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }
	if len(text) != aesKeyLen || strings.ContainsFunc(text, func(c rune) bool { return !isAlphanumeric(c) }) {
		return nil, errAESKey
	}
	return base64.StdEncoding.DecodeString(text + "=")
}

// encryptPush returns the Encrypt element for a message: random bytes, the length of the message, the message and the
// app ID, padded to 32 bytes.
func encryptPush(key []byte, random [randomPrefix]byte, message []byte, appID string) string {
	b := make([]byte, 0, randomPrefix+4+len(message)+len(appID)+paddedTo)
	b = append(b, random[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(message)))
	b = append(b, message...)
	b = append(b, appID...)
	padding := paddedTo - len(b)%paddedTo
	b = append(b, bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(newAES(key), key[:aes.BlockSize]).CryptBlocks(b, b)
	return base64.StdEncoding.EncodeToString(b)
}

var errEncryptedReply = errors.New("the reply is not encrypted like that of the platform")

// decryptReply returns the message in the Encrypt element of a reply.
func decryptReply(key []byte, encrypted, appID string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(encrypted)
	if err != nil || len(b) == 0 || len(b)%aes.BlockSize != 0 {
		return "", errEncryptedReply
	}
	cipher.NewCBCDecrypter(newAES(key), key[:aes.BlockSize]).CryptBlocks(b, b)
	padding := int(b[len(b)-1])
	if padding < 1 || padding > paddedTo || len(b)-padding < randomPrefix+4 {
		return "", errEncryptedReply
	}
	b = b[randomPrefix : len(b)-padding]
	n, rest := binary.BigEndian.Uint32(b), b[4:]
	if uint64(n) > uint64(len(rest)) || string(rest[n:]) != appID {
		return "", errEncryptedReply
	}
	return string(rest[:n]), nil
}

func newAES(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // decodeAESKey returns 32 bytes
	}
	return block
}
