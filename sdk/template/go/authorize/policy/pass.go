package policy

import (
	"encoding/hex"
	"strconv"
	"strings"
)

const (
	identityBytes  = 128
	expiresDigits  = 15
	signatureBytes = 32
)

// A pass, taken apart.
type pass struct {
	signed    string
	identity  string
	role      string
	expires   uint64
	signature []byte
}

// Takes a pass apart, from its end: the identity may have dots of its own. False if it is none.
func readPass(token string) (pass, bool) {
	signed, signature, dotted := cutLast(token)
	rest, expires, dottedToo := cutLast(signed)
	identity, role, dottedThrice := cutLast(rest)
	if !dotted || !dottedToo || !dottedThrice || !isIdentity(identity) || !isRole(role) {
		return pass{}, false
	}
	until, isNumber := readNumber(expires)
	bytes, isSignature := readSignature(signature)
	return pass{signed, identity, role, until, bytes}, isNumber && isSignature
}

func cutLast(text string) (before, after string, found bool) {
	at := strings.LastIndexByte(text, '.')
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+1:], true
}

func isIdentity(text string) bool {
	control := strings.IndexFunc(text, func(char rune) bool { return char < ' ' })
	return text != "" && len(text) <= identityBytes && control < 0
}

func isRole(text string) bool {
	return text == "listener" || text == "speaker" || text == "presenter"
}

func readNumber(text string) (uint64, bool) {
	if strings.Trim(text, "0123456789") != "" || len(text) > expiresDigits {
		return 0, false
	}
	number, err := strconv.ParseUint(text, 10, 64)
	return number, err == nil
}

func readSignature(text string) ([]byte, bool) {
	bytes, err := hex.DecodeString(text)
	return bytes, err == nil && len(bytes) == signatureBytes && text == strings.ToLower(text)
}
