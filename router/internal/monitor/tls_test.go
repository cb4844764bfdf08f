// Settings of crypto/tls and crypto/x509 that only a main package can choose. cmd/taprouter has the same ones.
//
//go:debug rsa1024min=0
//go:debug tlsmaxrsasize=16384
//go:debug tlssha1=1
//go:debug x509negativeserial=1

package monitor_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/router/internal/monitor"
)

// must is for what fails only when a test is wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// signed makes a certificate of a key, as a template has it.
func signed(key crypto.Signer, c *x509.Certificate) tls.Certificate {
	der := must(x509.CreateCertificate(rand.Reader, c, c, key.Public(), key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// largeRSA is the certificate of an RSA key of 10240 bits. The private key does not exist.
func largeRSA(issuer crypto.Signer) []byte {
	c := &x509.Certificate{SerialNumber: big.NewInt(2)}
	key := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 10239, 1), E: 65537}
	return must(x509.CreateCertificate(rand.Reader, c, c, key, issuer))
}

// resigned makes a certificate and changes its bytes, where crypto/x509 would refuse to make it so.
// The signature is that of the unchanged certificate; a check does not verify it.
func resigned(key crypto.Signer, old, changed []byte) tls.Certificate {
	c := signed(key, &x509.Certificate{SerialNumber: big.NewInt(0x5a5a5a5a)})
	der := bytes.Replace(c.Certificate[0], old, changed, 1)
	if bytes.Equal(der, c.Certificate[0]) || len(old) != len(changed) {
		panic("nothing has been changed")
	}
	c.Certificate[0] = der
	return c
}

// Servers that some client reaches are reached by a check: it verifies nothing, so it has nothing to
// refuse. Each of these does one thing only, and the check has to be able to do that.
func TestHTTPSReachesWhatAClientReaches(t *testing.T) {
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	ecCert := signed(ec, &x509.Certificate{SerialNumber: big.NewInt(1)})
	rsaCert := signed(rsaKey, &x509.Certificate{SerialNumber: big.NewInt(1)})
	type server struct {
		name string
		cfg  *tls.Config
	}
	var servers []server
	add := func(name string, cfg *tls.Config) {
		if cfg.Certificates == nil {
			cfg.Certificates = []tls.Certificate{ecCert, rsaCert}
		}
		if cfg.MinVersion == 0 {
			cfg.MinVersion = tls.VersionTLS10
		}
		servers = append(servers, server{name, cfg})
	}
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		add(tls.VersionName(v), &tls.Config{MinVersion: v, MaxVersion: v})
	}
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if v := s.SupportedVersions[0]; v != tls.VersionTLS13 {
			add(s.Name, &tls.Config{CipherSuites: []uint16{s.ID}, MinVersion: v, MaxVersion: tls.VersionTLS12})
		}
	}
	for _, c := range []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521} {
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			add(fmt.Sprint(c, " in ", tls.VersionName(v)), &tls.Config{
				CurvePreferences: []tls.CurveID{c}, MaxVersion: v, MinVersion: v,
				Certificates: []tls.Certificate{rsaCert},
			})
		}
	}
	for _, c := range []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024} {
		add(c.String(), &tls.Config{CurvePreferences: []tls.CurveID{c}})
	}
	for _, s := range []tls.SignatureScheme{
		tls.PKCS1WithSHA1, tls.PKCS1WithSHA256, tls.PKCS1WithSHA512, tls.PSSWithSHA256, tls.PSSWithSHA512,
	} {
		c := rsaCert
		c.SupportedSignatureAlgorithms = []tls.SignatureScheme{s}
		add(s.String(), &tls.Config{Certificates: []tls.Certificate{c}, MaxVersion: tls.VersionTLS12})
	}
	sha1 := ecCert
	sha1.SupportedSignatureAlgorithms = []tls.SignatureScheme{tls.ECDSAWithSHA1}
	add("ECDSAWithSHA1", &tls.Config{Certificates: []tls.Certificate{sha1}, MaxVersion: tls.VersionTLS12})

	one := func(key crypto.Signer, change func(*x509.Certificate)) *tls.Config {
		c := &x509.Certificate{SerialNumber: big.NewInt(1)}
		change(c)
		return &tls.Config{Certificates: []tls.Certificate{signed(key, c)}}
	}
	plain := func(*x509.Certificate) {}
	add("P-384 certificate", one(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), plain))
	add("P-521 certificate", one(must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), plain))
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	add("Ed25519 certificate", one(ed, plain))
	for _, bits := range []int{512, 768, 1024} {
		cfg := one(must(rsa.GenerateKey(rand.Reader, bits)), plain)
		cfg.MaxVersion = tls.VersionTLS12
		add(fmt.Sprint("RSA of ", bits), cfg)
		cfg = cfg.Clone()
		cfg.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
		add(fmt.Sprint("RSA of ", bits, ", no signature"), cfg)
	}
	large := ecCert // its key signs nothing here: that would take seconds
	large.Certificate = append(slices.Clone(large.Certificate), largeRSA(ec))
	add("RSA of 10240", &tls.Config{Certificates: []tls.Certificate{large}})
	add("expired", one(ec, func(c *x509.Certificate) { c.NotAfter = time.Unix(1e9, 0) }))
	add("not yet valid", one(ec, func(c *x509.Certificate) { c.NotBefore = time.Unix(8e9, 0) }))
	add("of another name", one(ec, func(c *x509.Certificate) { c.DNSNames = []string{"example.com"} }))
	add("critical and unknown", one(ec, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true,
			Value: []byte{5, 0}}}
	}))
	add("for nothing of the kind", one(ec, func(c *x509.Certificate) {
		c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageCRLSign, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	}))
	serial := []byte{2, 4, 0x5a, 0x5a, 0x5a, 0x5a} // INTEGER, of four bytes
	add("negative serial",
		&tls.Config{Certificates: []tls.Certificate{resigned(ec, serial, []byte{2, 4, 0xda, 0x5a, 0x5a, 0x5a})}})

	for _, p := range []string{"h2", "http/1.0", "spdy/3"} {
		add("ALPN "+p, &tls.Config{NextProtos: []string{p}})
	}
	for _, auth := range []tls.ClientAuthType{tls.RequestClientCert, tls.VerifyClientCertIfGiven} {
		add(fmt.Sprint("client certificates ", auth), &tls.Config{ClientAuth: auth, MaxVersion: tls.VersionTLS12})
		add(fmt.Sprint("client certificates in TLS 1.3 ", auth), &tls.Config{ClientAuth: auth})
	}
	for _, s := range servers {
		each(t, s.name, func(t *testing.T, a, b *host.Host) {
			serve(t, b, func(c net.Conn) {
				s := tls.Server(c, s.cfg)
				says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(s)
				_, _ = io.Copy(io.Discard, c)
			})
			r := once(t, a, monitor.Spec{Type: "HTTPS"}, netip.AddrPortFrom(addrB, 80))
			expect(t, r, true, "GET / HTTP/1.1", "HTTP/1.1 200 OK", "200 as expected")
		})
	}
}

// The first ClientHello fits the smallest segment: some servers read no further, and ten thousand members
// are asked with it. What does not fit comes in the second.
func TestHelloFitsOneSegment(t *testing.T) {
	each(t, "", func(t *testing.T, a, b *host.Host) {
		sizes := make(chan int, 10)
		serve(t, b, func(c net.Conn) {
			n, _ := c.Read(make([]byte, 4096))
			sizes <- n
		})
		once(t, a, monitor.Spec{Type: "HTTPS"}, netip.AddrPortFrom(addrB, 80))
		if first, second := <-sizes, <-sizes; first > 536 || second < 1216 {
			t.Errorf("%d bytes, and %d for who refuses that", first, second)
		}
	})
}

// In a program that has not chosen so, a check says which choice is missing.
func TestHTTPSNamesTheSetting(t *testing.T) {
	small := signed(must(rsa.GenerateKey(rand.Reader, 512)), &x509.Certificate{SerialNumber: big.NewInt(1)})
	t.Setenv("GODEBUG", "rsa1024min=1,tlsmaxrsasize=8192,x509negativeserial=0")
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	large := signed(ec, &x509.Certificate{SerialNumber: big.NewInt(1)})
	large.Certificate = append(large.Certificate, largeRSA(ec))
	for setting, c := range map[string]tls.Certificate{
		"x509negativeserial=1": resigned(ec, []byte{2, 4, 0x5a, 0x5a, 0x5a, 0x5a},
			[]byte{2, 4, 0xda, 0x5a, 0x5a, 0x5a}),
		"tlsmaxrsasize=16384": large,
		"rsa1024min=0":        small,
	} {
		each(t, setting, func(t *testing.T, a, b *host.Host) {
			serve(t, b, func(c2 net.Conn) {
				_ = tls.Server(c2, &tls.Config{
					Certificates: []tls.Certificate{c}, MaxVersion: tls.VersionTLS12,
					CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA},
				}).Handshake() // it fails
			})
			r := once(t, a, monitor.Spec{Type: "HTTPS"}, netip.AddrPortFrom(addrB, 80))
			expect(t, r, false, "TLS handshake", "garbage", "")
			if !strings.HasSuffix(r.Why, " (GODEBUG="+setting+" takes it)") {
				t.Errorf("%q does not name %s", r.Why, setting)
			}
		})
	}
}

// The binary chooses what these tests choose.
func TestTheBinaryOffersTheSame(t *testing.T) {
	lines := func(path string) (found []string) {
		for line := range strings.Lines(string(must(os.ReadFile(path)))) {
			if strings.HasPrefix(line, "//go:debug ") {
				found = append(found, line)
			}
		}
		return found
	}
	here, there := lines("tls_test.go"), lines("../../../cmd/taprouter/main.go")
	if len(here) != 4 || !slices.Equal(here, there) {
		t.Errorf("tests: %q\nbinary: %q", here, there)
	}
}
