//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/internal/nettest"
)

// An api is the control API of a router, by its socket.
type api struct {
	t      *testing.T
	client *http.Client
}

// apiAt is a client of the router with a socket.
func apiAt(t *testing.T, socket string) *api {
	return &api{t, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}}
}

// shortSocket is a path for a socket that is short enough for one.
func shortSocket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "api.sock")
}

// do sends a request, and returns what the answer wraps. It fails the test if the answer has another status.
func (a *api) do(status int, method, path, body string) map[string]any {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, "http://router/v2.0/"+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		a.t.Fatalf("%s %s: %d, want %d: %s %v", method, path, resp.StatusCode, status, text, err)
	}
	var all map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &all); err != nil {
			a.t.Fatal(err)
		}
	}
	for _, v := range all {
		if o, ok := v.(map[string]any); ok && len(all) == 1 {
			return o
		}
	}
	return all
}

// An ear has the frames that an interface has got, and does not wait for any.
type ear int

// ear listens to an interface from now on.
func (s *space) ear(name string) ear {
	s.w.t.Helper()
	var fd int
	s.w.check(s.within(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	}))
	s.w.t.Cleanup(func() { _ = unix.Close(fd) })
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	s.w.check(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: s.link(name).Attrs().Index}))
	return ear(fd)
}

// heard describes the frames that are there.
func (e ear) heard() string {
	var lines []string
	b := make([]byte, 2048)
	for {
		n, _, err := unix.Recvfrom(int(e), b, 0)
		if err != nil {
			return strings.Join(lines, "\n")
		}
		lines = append(lines, nettest.Describe(bytes.Clone(b[:n])))
	}
}

// When a request is answered, what it has asked for is there: the TAP of a network, the address of an interface, the
// announcement of a floating IP. The TAP comes back with a restart, and goes with its network.
func TestMadeByTheAPI(t *testing.T) {
	t.Parallel()
	need(t, "arping", "ping")
	w := newWorld(t)
	router, inside, outside := w.space("router"), w.space("inside"), w.space("outside")
	socket, state := shortSocket(t), t.TempDir()
	file := w.file("x.toml", "[[network]]\nname = \"x\"\ndevices = [\"tap:tap-x\"]\n")
	p := router.serve(file, "--socket", socket, "--state-dir", state)
	a := apiAt(t, socket)
	network := func(body string) (id, tap string) {
		t.Helper()
		n := a.do(201, "POST", "networks", `{"network":{`+body+`}}`)
		id = n["id"].(string)
		if _, err := router.LinkByName("tap" + id[:11]); err != nil {
			t.Errorf("the TAP of a network is not there with the answer: %v", err)
		}
		if n["provider:network_type"] != "local" {
			t.Errorf("%v", n)
		}
		return id, "tap" + id[:11]
	}
	net, tap := network(`"name":"made"`)
	ext, extTAP := network(`"name":"ext","router:external":true`)
	sub := a.do(201, "POST", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"172.16.9.0/24"}}`)
	a.do(201, "POST", "subnets", `{"subnet":{"network_id":"`+ext+`","ip_version":4,"cidr":"10.10.9.0/24"}}`)
	inside.adopt(router, tap)
	inside.address(tap, "172.16.9.9/24", "172.16.9.1")
	outside.adopt(router, extTAP)
	outside.address(extTAP, "10.10.9.4/24", "")

	r := a.do(201, "POST", "routers", `{"router":{"external_gateway_info":{"network_id":"`+ext+`"}}}`)["id"].(string)
	a.do(200, "PUT", "routers/"+r+"/add_router_interface", fmt.Sprintf(`{"subnet_id":"%v"}`, sub["id"]))
	mac := inside.link(tap).Attrs().HardwareAddr.String() // the network has port security
	port := a.do(201, "POST", "ports", `{"port":{"network_id":"`+net+`","fixed_ips":[{"ip_address":"172.16.9.9"}],
		"mac_address":"`+mac+`"}}`)
	inside.run("arping", "-c", "1", "-w", "5", "-I", tap, "172.16.9.1")
	ear := outside.ear(extTAP)
	fip := a.do(201, "POST", "floatingips", fmt.Sprintf(`{"floatingip":{"floating_network_id":"%s","port_id":"%v"}}`,
		ext, port["id"]))
	address := fip["floating_ip_address"].(string)
	if got, want := ear.heard(), "arp who-has "+address+" tell "+address; !strings.Contains(got, want) {
		t.Errorf("%q is not announced before the answer:\n%s", want, got)
	}
	outside.pings(t, address)

	p.stop()
	p = router.serve(file, "--socket", socket, "--state-dir", state)
	for _, name := range []string{tap, extTAP} {
		router.link(name) // fails the test if the restart does not open it
	}
	inside.adopt(router, tap)
	inside.run("ip", "link", "set", tap, "address", mac) // as a machine has its port's
	inside.address(tap, "172.16.9.9/24", "172.16.9.1")
	inside.pings(t, "172.16.9.1")
	a = apiAt(t, socket)
	a.do(204, "DELETE", "floatingips/"+fip["id"].(string), "")
	a.do(204, "DELETE", fmt.Sprintf("ports/%v", port["id"]), "")
	a.do(200, "PUT", "routers/"+r+"/remove_router_interface", fmt.Sprintf(`{"subnet_id":"%v"}`, sub["id"]))
	a.do(204, "DELETE", "routers/"+r, "")
	a.do(204, "DELETE", "networks/"+net, "")
	a.do(204, "DELETE", "networks/"+ext, "")
	if _, err := inside.LinkByName(tap); err == nil {
		t.Error("the TAP is left when its network is gone")
	}
	if _, err := router.LinkByName(extTAP); err == nil {
		t.Error("the TAP is left when its network is gone")
	}
	p.stop()
}

// A network whose TAP cannot be opened is refused: the answer says why, and nothing of the request is left.
func TestNetworkWithoutItsTAP(t *testing.T) {
	t.Parallel()
	need(t, "setpriv")
	w := newWorld(t)
	router := w.space("router")
	socket := shortSocket(t)
	router.start("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", program, "run", "--socket", socket,
		w.file("x.toml", "[[network]]\nname = \"x\"\n")).wait(t, " ready ")
	a := apiAt(t, socket)
	e := a.do(503, "POST", "networks", `{"networks":[{"name":"a"},{"name":"b"}]}`)
	if message, _ := e["message"].(string); e["type"] != "DeviceNotOpened" || !strings.Contains(message, "tap:tap") ||
		!strings.Contains(message, "CAP_NET_ADMIN") {
		t.Errorf("%v", e)
	}
	list := a.do(200, "GET", "networks", "")["networks"].([]any)
	links, err := router.LinkList()
	w.check(err)
	if len(list) != 1 || len(links) != 1 {
		t.Errorf("left: %v, %v", list, links)
	}
}
