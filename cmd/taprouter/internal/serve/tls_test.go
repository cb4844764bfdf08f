package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func newTextLogger(r *record) *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

// certificate writes a new certificate for 127.0.0.1, and returns its number.
func certificate(t *testing.T, certFile, keyFile string, number int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: "localhost"},
		DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert},
		keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A reload takes a new certificate and a new token. If one of them is wrong, both stay as they were.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	opt := Options{Listen: []string{"127.0.0.1:0"}, TokenFile: filepath.Join(dir, "token"),
		CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
	token := func(text string) {
		if err := os.WriteFile(opt.TokenFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	token(testToken)
	certificate(t, opt.CertFile, opt.KeyFile, 1)
	f := open(t, opt)
	f.Serve(Service{Handler: http.HandlerFunc(echo)})
	// seen is the number of the certificate, and the status that a token gets.
	seen := func(token string) (int64, int) {
		t.Helper()
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+f.tcp+"/v2.0", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Auth-Token", token)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.Proto != "HTTP/1.1" {
			t.Errorf("it speaks %s", resp.Proto)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), resp.StatusCode
	}
	check := func(what string, number int64, good, bad string) {
		t.Helper()
		for text, want := range map[string]int{good: 200, bad: 401} {
			if n, status := seen(text); n != number || status != want {
				t.Errorf("%s: certificate %d, status %d, want %d and %d", what, n, status, number, want)
			}
		}
	}
	const other = "fedcba9876543210"
	check("at first", 1, testToken, other)
	salt := string(f.Salt())
	token(other)
	certificate(t, opt.CertFile, opt.KeyFile, 2)
	check("before the reload", 1, testToken, other)
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	check("after it", 2, other, testToken)
	if string(f.Salt()) == salt || !f.Secret(other) || f.Secret(testToken) {
		t.Error("salt or secret are the former ones")
	}
	if text := f.log.String(); strings.Contains(text, "can read a secret") {
		t.Errorf("secrets of mode 0600:\n%s", text)
	}
	if runtime.GOOS != "windows" {
		for file, mode := range map[string]os.FileMode{opt.TokenFile: 0o644, opt.KeyFile: 0o640, opt.CertFile: 0o644} {
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Reload(); err != nil {
			t.Fatal(err)
		}
		text := f.log.String()
		if n := strings.Count(text, "can read a secret"); n != 1 || !strings.Contains(text, "file="+opt.TokenFile) {
			t.Errorf("a token for all:\n%s", text)
		}
	}
	token(testToken)
	certificate(t, opt.CertFile, filepath.Join(dir, "another"), 3)
	if err := f.Reload(); err == nil || !strings.Contains(err.Error(), opt.CertFile) {
		t.Errorf("a certificate without its key: %v", err)
	}
	check("after a reload that failed", 2, other, testToken)
	if resp, err := http.Get("http://" + f.tcp + "/"); err == nil && resp.StatusCode != 400 {
		t.Errorf("without TLS: %v", resp.Status)
	}
}
