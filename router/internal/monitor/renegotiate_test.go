package monitor_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/router/internal/monitor"
)

// A server may want a second handshake when it has seen the request, for instance if it wants
// certificates for some paths only. crypto/tls has no such server, so the test uses OpenSSL's.
func TestHTTPSRenegotiates(t *testing.T) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl to renegotiate with")
	}
	dir := t.TempDir()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	cert := signed(key, &x509.Certificate{SerialNumber: big.NewInt(1)})
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})...)
	file, socket := filepath.Join(dir, "both.pem"), filepath.Join(dir, "socket")
	if err := os.WriteFile(file, both, 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), path, "s_server", "-unix", "./socket", "-cert", file, "-key", file,
		"-tls1_2", "-crlf")
	server.Dir = dir // the path of a socket is short
	in, out := must(server.StdinPipe()), must(server.StdoutPipe())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	until := func(words string) {
		for lines.Scan() {
			if strings.Contains(lines.Text(), words) {
				return
			}
		}
	}
	until("ACCEPT")
	done := make(chan struct{})
	go func() {
		defer close(done)
		until("GET / HTTP/1.1")
		fmt.Fprintln(in, "r")
		until("SSL_do_handshake -> 1")
		fmt.Fprint(in, "HTTP/1.1 200 OK\nContent-Length: 0\n\n")
		until("nothing more")
	}()
	a, b := pair(t)
	serve(t, b, func(c net.Conn) {
		s, err := net.Dial("unix", socket)
		if err != nil {
			return
		}
		defer s.Close()
		go func() {
			_, _ = io.Copy(s, c)
			s.Close()
		}()
		_, _ = io.Copy(c, s)
	})
	r := once(t, a, monitor.Spec{Type: "HTTPS"}, netip.AddrPortFrom(addrB, 80))
	expect(t, r, true, "GET / HTTP/1.1", "HTTP/1.1 200 OK", "200 as expected")
	in.Close()
	_ = server.Process.Kill()
	<-done
	_ = server.Wait() // it has been killed
}
