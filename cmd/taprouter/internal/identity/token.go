package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// lifetime is how long a token is good for.
const lifetime = 24 * time.Hour

// tokenMost bounds a token's length, in bytes.
const tokenMost = 4096

// A scope is what a token is for.
type scope string

const (
	projectScope scope = "project"
	domainScope  scope = "domain"
	systemScope  scope = "system"
	noScope      scope = "unscoped"
)

// A token names the user that has logged in. Clients get it as text, with a signature.
type token struct {
	User    string   `json:"u"`
	Methods []string `json:"m"`
	Scope   scope    `json:"s"`
	Issued  int64    `json:"i"` // Unix time
	Expires int64    `json:"e"`
}

func (a *API) signature(payload []byte) []byte {
	h := hmac.New(sha256.New, a.key[:])
	h.Write(a.opt.Salt()) // of one length, or empty
	h.Write([]byte{0})
	h.Write(payload)
	return h.Sum(nil)
}

// text writes a token with its signature.
func (a *API) text(t *token) (string, error) {
	payload, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	e := encoding()
	return e.EncodeToString(payload) + "." + e.EncodeToString(a.signature(payload)), nil
}

// encoding is how bytes are written in a token. There is one text for the same bytes.
func encoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

// read reads a token that is ours and good.
func (a *API) read(text string) (*token, bool) {
	if len(text) > tokenMost || strings.ContainsAny(text, "\r\n") { // which decoders pass over
		return nil, false
	}
	head, tail, _ := strings.Cut(text, ".")
	payload, err := encoding().DecodeString(head)
	if err != nil {
		return nil, false
	}
	signature, err := encoding().DecodeString(tail)
	if err != nil || !hmac.Equal(signature, a.signature(payload)) {
		return nil, false
	}
	var t token
	if err := json.Unmarshal(payload, &t); err != nil || a.opt.Now().Unix() >= t.Expires {
		return nil, false
	}
	return &t, true
}

// User names the user of a token that was given out here.
func (a *API) User(text string) (string, bool) {
	t, ok := a.read(text)
	if !ok {
		return "", false
	}
	return t.User, true
}
