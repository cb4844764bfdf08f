package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
)

// A secret is a configured token. Only its sum is kept, so that a comparison takes the same time for all guesses of
// all lengths.
type secret struct{ sum [sha256.Size]byte }

// equals compares a guess in constant time.
func (s *secret) equals(guess string) bool {
	sum := sha256.Sum256([]byte(guess))
	return subtle.ConstantTimeCompare(s.sum[:], sum[:]) == 1
}

const (
	tokenLeast = 16   // characters: a shorter token can be guessed
	tokenMost  = 1024 // bytes
)

// readToken reads the file of a token, which is its one line.
func readToken(path string) (*secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, readable(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, tokenMost+1))
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(string(text))
	switch {
	case len(text) > tokenMost:
		return nil, fmt.Errorf("token file %s: it has more than %d bytes, a token is one line", path, tokenMost)
	case token == "":
		return nil, fmt.Errorf("token file %s: it is empty: write one line of random characters to it, "+
			"such as `openssl rand -hex 32`", path)
	case len(token) < tokenLeast:
		return nil, fmt.Errorf("token file %s: a token of %d characters can be guessed: take %d or more, "+
			"such as `openssl rand -hex 32`", path, len(token), tokenLeast)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, fmt.Errorf("token file %s: a token has printable ASCII characters without blanks, in one line",
			path)
	}
	return &secret{sha256.Sum256([]byte(token))}, nil
}

// readable adds the way out to an error about a file that is read again while the router runs.
func readable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: after its start the router has no rights but its user's: let that user read the file",
			err)
	}
	return err
}

// secrets are what a Server knows of its files. They are swapped as a whole.
type secrets struct {
	token       *secret // nil: none
	certificate *tls.Certificate
}

// readSecrets reads the files that the options name.
func readSecrets(opt Options) (*secrets, error) {
	found := &secrets{}
	if opt.TokenFile != "" {
		var err error
		if found.token, err = readToken(opt.TokenFile); err != nil {
			return nil, err
		}
	}
	if opt.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(opt.CertFile, opt.KeyFile)
		if err != nil {
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
				return nil, readable(err)
			}
			return nil, fmt.Errorf("TLS certificate %s with key %s: %w", opt.CertFile, opt.KeyFile, err)
		}
		found.certificate = &pair
	}
	return found, nil
}

// exposed lists the files among some that every user of the host can read, or write. An empty path is none.
func exposed(paths ...string) (list []string) {
	const others = 0o006
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&others != 0 && runtime.GOOS != "windows" { // which has no such modes
			list = append(list, path)
		}
	}
	return list
}

// tlsConfig gives each connection the certificate that was read last.
func tlsConfig(now *atomic.Pointer[secrets]) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return now.Load().certificate, nil
		},
	}
}
