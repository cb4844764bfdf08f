package client_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A page is what a server says at a path.
type page struct {
	kind string
	text string
}

// pages serves canned answers of the router's own API. What a client has asked for is in the result.
func pages(t testing.TB, by map[string]page) (url string, asked *[]string) {
	t.Helper()
	asked = &[]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what came is compared
		*asked = append(*asked, strings.TrimSpace(fmt.Sprintf("%s %s %s%s",
			r.Method, r.URL, r.Header.Get("If-Match"), body)))
		p, ok := by[r.URL.Path]
		if !ok {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = io.WriteString(w, `{"title":"Unprocessable Entity","detail":"1 fault","faults":[{"file":"lab.toml",`+
				`"line":12,"message":"subnet \"blue\": no cidr"}]}`)
			return
		}
		w.Header().Set("Content-Type", p.kind)
		_, _ = io.WriteString(w, p.text)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

const (
	tcpLine = `{"router":"r","protocol":"tcp","protocol_number":6,"state":"ESTABLISHED","timeout":7195.5,"replied":true,
		"original":{"src":"10.0.0.5","dst":"1.1.1.1","sport":4000,"dport":80},
		"reply":{"src":"1.1.1.1","dst":"10.10.10.2","sport":80,"dport":4000}}`
	udpLine = `{"router":"r","protocol":"udp","protocol_number":17,"state":"NEW","timeout":29,"replied":false,
		"original":{"src":"10.0.0.5","dst":"10.0.1.1","sport":4001,"dport":53},
		"reply":{"src":"10.0.1.1","dst":"10.0.0.5","sport":53,"dport":4001}}`
	icmpLine = `{"router":"r","protocol":"icmp","protocol_number":1,"state":"NEW","timeout":29,"replied":true,
		"original":{"src":"10.10.10.4","dst":"10.10.10.9","sport":7,"dport":7},
		"reply":{"src":"10.0.0.5","dst":"10.10.10.4","sport":7,"dport":7}}`
)

// lines is values of JSON, one a line.
func lines(values ...string) string {
	var b strings.Builder
	for _, v := range values {
		b.WriteString(strings.ReplaceAll(v, "\n", "") + "\n")
	}
	return b.String()
}

func TestOwnCommands(t *testing.T) {
	by := map[string]page{
		"/taprouter/v1/connections": {"application/x-ndjson", lines(tcpLine, udpLine, icmpLine)},
		"/taprouter/v1/neighbors": {"application/json", `{"neighbors":[{"dst":"10.0.0.5","dev":"blue",
			"lladdr":"02:00:00:00:00:05","state":["REACHABLE"]},{"dst":"10.0.0.6","dev":"blue","state":["FAILED"]}]}`},
		"/taprouter/v1/routes": {"application/json", `{"routes":[{"dst":"default","gateway":"10.10.10.4","dev":"ext",
			"protocol":"static","router":"r","router_id":"1","origin":{"kind":"gateway","at":"lab.toml:3"},"flags":[]},
			{"dst":"10.0.0.0/24","dev":"blue","protocol":"kernel","scope":"link","prefsrc":"10.0.0.1","router":"r",
			"router_id":"1","origin":{},"flags":["dead"]}]}`},
		"/taprouter/v1/nat": {"application/json", `{"routers":[{"router":"r","rules":["r outbound SNAT from any other -> 10.10.10.2"],
			"snat":{"network":"ext","addresses":[
			{"address":"10.10.10.2","ports_in_use":{"tcp":1,"udp":2,"icmp":3}}],"untranslated":["10.9.0.0/16"]},
			"floating_ips":[{"address":"10.10.10.9","fixed_ip":"10.0.0.5","in_force":false}],
			"port_forwardings":[{"address":"10.10.10.8","external_port":2222,"protocol":"tcp","fixed_ip":"10.0.0.5",
			"port":22,"in_force":true}],"vips":[{"address":"10.0.0.50","port":80,"protocol":"TCP",
			"pool":{"name":"p","members":[{},{}]}}]}]}`},
		"/taprouter/v1/leases": {"application/json", `{"address":"10.0.0.77","mac":"02:00:00:00:00:07","network":"blue",
			"leases":[{"address":"10.0.0.77","mac":"02:00:00:00:00:07","client_id":"00616263","hostname":"host7",
			"network":"blue","network_id":"1","ends":"2026-11-29T12:00:00Z"}]}`},
		"/taprouter/v1/floating-ips": {"application/json", `{"floating_ips":[{"address":"10.10.10.8","network":"ext",
			"status":"ACTIVE","port_forwardings":[{"protocol":"tcp","external_port":2222,"fixed_ip":"10.0.0.5",
			"port":22}]}]}`},
		"/taprouter/v1/vips": {"application/json", `{"vips":[{"name":"web","address":"10.0.0.50","port":80,
			"operating_status":"ONLINE","statistics":{"active_connections":1,"total_connections":9,"bytes_in":5,
			"bytes_out":6},"pool":{"members":[{"name":"a","address":"10.0.0.5","port":8080,"weight":1,
			"operating_status":"ERROR"}]}}]}`},
		"/taprouter/v1/drops": {"application/json", `{"drops":[{"stage":"ttl","reason":"expired","packets":3},
			{"stage":"arp","reason":"none","packets":0}],"unsent":[],"lost":[{"network":"blue","device":"tap:b",
			"packets":2}],"ports":[{"network":"blue","device":"tap:b","port":"vm","reason":"spoofed-ip","packets":1,
			"why":"port \"vm\" sends from 10.0.0.9","remedy":"allowed_address_pairs = [{ ip = \"10.0.0.9\" }]"},
			{"network":"blue","device":"","reason":"spoofed-mac","packets":7,"why":"","remedy":""}],
			"recalled":[{"router":"r","connections":3,"remedy":"more snat_addresses"}]}`},
		"/taprouter/v1/devices": {"application/json", `{"devices":[{"device":"tap:b","network":"blue","present":true,
			"rx_packets":1,"rx_bytes":60,"tx_packets":2,"tx_bytes":120,"tx_dropped":2}]}`},
		"/taprouter/v1/status": {"application/json", `{"version":"1","uptime":61.2,"revision":7,
			"objects":{"networks":2,"floating_ips":1,"pools":0},"connections":5,"missing_devices":["tap:x"],
			"members_down":[{"member":"a","pool":"p","vip":"web","why":"refused"}],
			"pools_full":[{"network":"blue","subnet":"10.0.0.0/28","size":13},
			{"network":"","network_id":"5b2f","subnet":"10.9.0.0/30","size":1}],
			"unserved":[{"message":"security groups"}],"workers":[{"worker":0,"networks":2,"routers":1,
			"busy_seconds":0.5}]}`},
		"/taprouter/v1/log-level": {"application/json", `{"level":"debug"}`},
		"/taprouter/v1/export":    {"application/toml", "[[network]]\nname = \"blue\x1b\"\n"},
		"/taprouter/v1/upgrade":   {"application/json", `{"status":"ok"}`},
		"/taprouter/v1/plan": {"application/json", `{"revision":7,"changes":[{"op":"added","name":"network blue"},
			{"op":"changed","name":"router r","attributes":[{"name":"routes","added":["a"],"removed":["b"]},
			{"name":"mtu","before":"1","after":"2","at_next_start":true}],"effects":[{"fate":"ended","text":"3"}]}],
			"warnings":[{"file":"lab.toml","line":3,"message":"unwise"}],"notes":["by the way"]}`},
		"/taprouter/v1/events": {"text/event-stream", ": hello\n\nid: 7\nevent: applied\ndata: " +
			`{"kind":"applied","at":"now","revision":7,` +
			`"changes":[{"op":"removed","name":"port p"}]}` + "\n\nid: 7.1\n" +
			`data: {"kind":"device","at":"then","device":"tap:x","reason":"gone` + `\u001b[2J"}` + "\n\n"},
	}
	url, asked := pages(t, by)
	for _, c := range []struct{ command, asks, prints string }{
		{"show conntrack -p TCP -s 10.0.0.0/8 --dport 80 --state established --router r",
			"GET /taprouter/v1/connections?" +
				"dport=80&protocol=tcp&router=r&src=10.0.0.0%2F8&state=ESTABLISHED", `tcp      6 7195 ESTABLISHED src=10.0.0.5 dst=1.1.1.1 sport=4000 dport=80 src=1.1.1.1 dst=10.10.10.2 sport=80 dport=4000 [ASSURED] mark=0 use=1
udp      17 29 src=10.0.0.5 dst=10.0.1.1 sport=4001 dport=53 [UNREPLIED] src=10.0.1.1 dst=10.0.0.5 sport=53 dport=4001 mark=0 use=1
icmp     1 29 src=10.10.10.4 dst=10.10.10.9 type=8 code=0 id=7 src=10.0.0.5 dst=10.10.10.4 type=0 code=0 id=7 mark=0 use=1
3 flow entries have been shown.
`},
		{"show conntrack -n", "GET /taprouter/v1/connections", `tcp      6 7195 ESTABLISHED src=10.0.0.5 dst=1.1.1.1 sport=4000 dport=80 src=1.1.1.1 dst=10.10.10.2 sport=80 dport=4000 [ASSURED] mark=0 use=1
1 flow entries have been shown.
`},
		{"show conntrack --dst-nat", "GET /taprouter/v1/connections", `icmp     1 29 src=10.10.10.4 dst=10.10.10.9 type=8 code=0 id=7 src=10.0.0.5 dst=10.10.10.4 type=0 code=0 id=7 mark=0 use=1
1 flow entries have been shown.
`},
		{"show conntrack -j --limit 1 -o json", "GET /taprouter/v1/connections", `{"router": "r", "protocol": "tcp", "protocol_number": 6, "state": "ESTABLISHED", "timeout": 7195.5, "replied": true, "original": {"src": "10.0.0.5", "dst": "1.1.1.1", "sport": 4000, "dport": 80}, "reply": {"src": "1.1.1.1", "dst": "10.10.10.2", "sport": 80, "dport": 4000}}
`},
		{"show neighbors --router r", "GET /taprouter/v1/neighbors?router=r",
			"10.0.0.5 dev blue lladdr 02:00:00:00:00:05 REACHABLE\n10.0.0.6 dev blue FAILED\n"},
		{"show neighbors -o json", "GET /taprouter/v1/neighbors", `[
  {
    "dst": "10.0.0.5",
    "dev": "blue",
    "lladdr": "02:00:00:00:00:05",
    "state": [
      "REACHABLE"
    ]
  },
  {
    "dst": "10.0.0.6",
    "dev": "blue",
    "state": [
      "FAILED"
    ]
  }
]
`},
		{"show routes", "GET /taprouter/v1/routes", "router r:\ndefault via 10.10.10.4 dev ext proto static  " +
			"# gateway at " +
			"lab.toml:3\n10.0.0.0/24 dev blue proto kernel scope link src 10.0.0.1 dead\n"},
		{"show nat", "GET /taprouter/v1/nat", `r outbound SNAT from any other -> 10.10.10.2
  ports in use of 10.10.10.2: tcp 1, udp 2, icmp 3
  not in force, as r has no gateway: 10.10.10.9 -> 10.0.0.5
r VIP 10.0.0.50 TCP port 80 -> pool p of 2 members
`},
		{"show floating-ips", "GET /taprouter/v1/floating-ips", `+------------+---------+----------+--------+--------+------------------------+
| Address    | Network | Fixed IP | Router | Status | Port Forwardings       |
+------------+---------+----------+--------+--------+------------------------+
| 10.10.10.8 | ext     |          |        | ACTIVE | tcp 2222='10.0.0.5:22' |
+------------+---------+----------+--------+--------+------------------------+
`},
		{"lease list --network blue", "GET /taprouter/v1/leases?network=blue", `+-----------+-------------------+----------+---------+----------------------+-----------+
| Address   | MAC               | Hostname | Network | Ends                 | Client ID |
+-----------+-------------------+----------+---------+----------------------+-----------+
| 10.0.0.77 | 02:00:00:00:00:07 | host7    | blue    | 2026-11-29T12:00:00Z | 00616263  |
+-----------+-------------------+----------+---------+----------------------+-----------+
`},
		{"lease release 10.0.0.77 --network blue", "DELETE /taprouter/v1/leases?address=10.0.0.77&network=blue",
			"10.0.0.77 was leased to 02:00:00:00:00:07 on network blue\n"},
		{"show vips", "GET /taprouter/v1/vips", `+------+---------------+--------+--------+--------+-------+----------+-----------+
| Name | Address       | Weight | Status | Active | Total | Bytes In | Bytes Out |
+------+---------------+--------+--------+--------+-------+----------+-----------+
| web  | 10.0.0.50:80  |        | ONLINE |      1 |     9 |        5 |         6 |
|   a  | 10.0.0.5:8080 | 1      | ERROR  |      0 |     0 |        0 |         0 |
+------+---------------+--------+--------+--------+-------+----------+-----------+
`},
		{"show drops", "GET /taprouter/v1/drops", `+--------+----------------------------+---------+
| Stage  | Reason                     | Packets |
+--------+----------------------------+---------+
| ttl    | expired                    |       3 |
| device | not taken by tap:b of blue |       2 |
+--------+----------------------------+---------+
spoofed-ip of network blue, device tap:b, 1 packet: port "vm" sends from 10.0.0.9
    would pass with allowed_address_pairs = [{ ip = "10.0.0.9" }]
spoofed-mac of network blue, earlier: 7 packets
3 connections of router r ended for other hosts: beyond the host's share
    room for all: more snat_addresses
`},
		{"show devices", "GET /taprouter/v1/devices", `+--------+---------+---------+------------+----------+------------+----------+------------+
| Device | Network | Present | Rx Packets | Rx Bytes | Tx Packets | Tx Bytes | Tx Dropped |
+--------+---------+---------+------------+----------+------------+----------+------------+
| tap:b  | blue    | True    |          1 |       60 |          2 |      120 |          2 |
+--------+---------+---------+------------+----------+------------+----------+------------+
`},
		{"status", "GET /taprouter/v1/status", `taprouter 1, up 1m1s, revision 7
objects: 2 networks, 1 floating ip
connections: 5
missing devices: tap:x
member down: a of pool p, VIP web: refused
no free address: subnet 10.0.0.0/28 of network blue, whose pools have 13 addresses
no free address: subnet 10.9.0.0/30 of network 5b2f, whose pools have 1 address
kept, not obeyed yet: security groups
worker 0: 2 networks, 1 router, busy 0.5 s
`},
		{"log", "GET /taprouter/v1/log-level", "debug\n"},
		{"log warn", `PUT /taprouter/v1/log-level {"level":"warn"}`, ""},
		{"export", "GET /taprouter/v1/export", "[[network]]\nname = \"blue\"\n"},
		{"upgrade", "POST /taprouter/v1/upgrade",
			"the router goes on in the program that is installed now; `taprouter status` tells its version\n"},
		{"apply - --plan --cascade --revision 7", `POST /taprouter/v1/plan?cascade=true&name=standard+input "7"`, `+ network blue
~ router r
    routes: +a -b
    mtu: 1 -> 2 (at the next start)
    connections ended: 3
2 changes planned; revision 7 is served
warning: lab.toml:3: unwise
note: by the way
`},
		{"events --since 6 --count 2", "GET /taprouter/v1/events?last_event_id=6",
			"now 7 applied\n    - port p\nthen 7.1 device device=tap:x reason=gone\\x1b[2J\n"},
	} {
		t.Setenv("TAPROUTER_ENDPOINT", url)
		*asked = nil
		s := run(t, strings.Fields(c.command))
		if got := s.Out + s.Err; got != c.prints || s.Status != 0 {
			t.Errorf("%s: status %d\n%s", c.command, s.Status, difference(c.prints, got))
		}
		if len(*asked) != 1 || (*asked)[0] != c.asks {
			t.Errorf("%s asks %q, want %q", c.command, *asked, c.asks)
		}
	}
	// A topology with faults is refused with their lines.
	s := run(t, []string{"apply", "-"})
	if s.Err != "lab.toml:12: subnet \"blue\": no cidr\n" || s.Status == 0 {
		t.Errorf("%+v", s)
	}
}

// Nothing that a server says reaches the terminal as a command to it, in any format.
func TestNothingOfTheServerControlsTheTerminal(t *testing.T) {
	evil := `\u001b[31m\u0007\u009b\u202ex\r`
	url, _ := pages(t, map[string]page{
		"/v2.0/networks": {"application/json", `{"networks":[{"id":"` + evil + `","name":"` + evil +
			`","subnets":["` + evil +
			`"]}]}`},
		"/v2.0/networks/x": {"application/json", `{"network":{"name":"` + evil + `","` + evil + `":1}}`},
		"/v2.0/routers": {"application/json", `{"routers":[{"id":"1","name":"n","routes":[{"` +
			evil + `":"` + evil + `"}]}]}`},
	})
	t.Setenv("TAPROUTER_ENDPOINT", url)
	for _, command := range []string{"network list", "network show x", "router list --long",
		"network delete " + "\x1b[31m"} {
		for _, format := range []string{"table", "json", "yaml", "value", "csv"} {
			args := strings.Fields(command)
			if args[1] != "delete" {
				args = append(args, "-f", format)
			}
			s := run(t, args)
			if strings.ContainsAny(s.Out+s.Err, "\x1b\a\u009b\u202e\r") {
				t.Errorf("%s -f %s: %+q", command, format, s.Out+s.Err)
			}
		}
	}
}

// A server that says too much, nothing at all, or nonsense ends a command in time, with an error.
func TestHostileServers(t *testing.T) {
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for range 1 << 20 { // as good as endless
			if _, err := io.WriteString(w, strings.Repeat("[", 1<<10)); err != nil {
				return
			}
		}
	}
	silent := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush() // the client waits for the body
		<-r.Context().Done()
	}
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		says  string
	}{
		"endless": {endless, "larger than"},
		"silent":  {silent, "no answer within"},
		"mute":    {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within"},
		"nonsense": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
			"not what a router says"},
		"another": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, "has no"},
		"deep": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(`{"a":`, 1000))
		}, "nested deeper"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}, "302"},
		"pages without end": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"networks":[],"networks_links":[{"rel":"next",`+
				`"href":"http://192.0.2.1/?marker=1"}]}`)
		}, "more than 1000 pages"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(c.serve)
			t.Cleanup(srv.Close)
			t.Setenv("TAPROUTER_ENDPOINT", srv.URL)
			timeout := "20s"
			if strings.Contains(c.says, "within") {
				timeout = "50ms"
			}
			begin := time.Now()
			s := run(t, []string{"network", "list", "--request-timeout", timeout})
			if s.Status != 1 || !strings.Contains(s.Err, c.says) {
				t.Errorf("%+v", s)
			}
			if name != "endless" {
				s = run(t, []string{"status", "--request-timeout", timeout})
				if s.Status != 1 && name != "another" && name != "pages without end" {
					t.Errorf("status: %+v", s)
				}
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A client that is not let in says what would let it in.
func TestWaysIn(t *testing.T) {
	refuse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"NeutronError":{"type":"HTTPUnauthorized","message":"No.","detail":""}}`)
	})
	guarded, plain := httptest.NewTLSServer(refuse), httptest.NewServer(refuse)
	t.Cleanup(guarded.Close)
	t.Cleanup(plain.Close)
	for endpoint, want := range map[string]string{
		guarded.URL: "--cacert FILE", plain.URL: "No. (--token-file FILE or $TAPROUTER_TOKEN",
		strings.Replace(guarded.URL, "https:", "http:", 1): "write https://",
	} {
		t.Setenv("TAPROUTER_ENDPOINT", endpoint)
		for _, command := range []string{"network list", "status", "events"} {
			if s := run(t, strings.Fields(command)); s.Status != 1 || !strings.Contains(s.Err, want) {
				t.Errorf("%s: %+v, want %q", command, s, want)
			}
		}
	}
}
