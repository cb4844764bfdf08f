package nettest_test

import (
	"strings"
	"testing"

	"github.com/taprouter/taprouter/internal/nettest"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		frame, line string
		ok          bool
	}{
		{"udp 1.2.3.4:5 > 6.7.8.9:10 ttl 63 len 20", "udp 1.2.3.4:5 > 6.7.8.9:10", true},
		{"udp 1.2.3.4:5 > 6.7.8.9:10 ttl 63 len 20", "udp 1.2.3.4:5 > 6.7.8.9:10 ttl 63 len 20", true},
		{"udp 1.2.3.4:5 > 6.7.8.9:10 ttl 63 len 20", "udp 1.2.3.4:5 > 6.7.8.9:10 ttl 64", false},
		{"udp 1.2.3.4:5 > 6.7.8.9:10 len 20", "udp 1.2.3.4:5 > 6.7.8.9:10 len 21", false},
		{"udp 1.2.3.4:5 > 6.7.8.9:10 len 2", "udp 1.2.3.4:5 > 6.7.8.9:11", false},
		{"udp 1.2.3.4:5 > 6.7.8.9:10 data 00", "udp 1.2.3.4:5 > 6.7.8.9:10 len 1", false},
		{"udp 1.2.3.4:5 > 6.7.8.9:10 data 00", "udp 1.2.3.4:5 > 6.7.8.9:10", true},
		{"udp 1.2.3.4:5 > 6.7.8.9:10 sum 0", "udp 1.2.3.4:5 > 6.7.8.9:10", true},
		{"udp 1.2.3.4:5 > 6.7.8.9:10 df", "udp 1.2.3.4:5 > 6.7.8.9:10", false},
		{"udp 1.2.3.4:5 > 6.7.8.9:10", "tcp 1.2.3.4:5 > 6.7.8.9:10 S", false},
		{"udp 1.2.3.4:5 > 6.7.8.9:10", "arp who-has 1.2.3.4 tell 1.2.3.5", false},
		{"udp 1.2.3.4:5 > 6.7.8.9:10 more len 16 of 24", "udp 1.2.3.4:5 > 6.7.8.9:10 more", true},
		{"udp 1.2.3.4:5 > 6.7.8.9:10 more len 16 of 24", "udp 1.2.3.4:5 > 6.7.8.9:10 more len 16 of 24", true},
		{"udp 1.2.3.4:5 > 6.7.8.9:10 more len 16 of 24 sum 1", "udp 1.2.3.4:5 > 6.7.8.9:10 more len 16 of 24", false},
		{"udp 1.2.3.4 > 6.7.8.9 off 24 len 8", "udp 1.2.3.4 > 6.7.8.9 off 24", true},
		{"udp 1.2.3.4 > 6.7.8.9 off 24 len 8", "udp 1.2.3.4 > 6.7.8.9 off 32", false},
		{"tcp 1.2.3.4:5 > 6.7.8.9:10 S seq 1 mss 1460", "tcp 1.2.3.4:5 > 6.7.8.9:10 S", true},
		{"tcp 1.2.3.4:5 > 6.7.8.9:10 S seq 1 mss 1460", "tcp 1.2.3.4:5 > 6.7.8.9:10 S. seq 1", false},
		{"tcp 1.2.3.4:5 > 6.7.8.9:10 S seq 1 mss 1460", "tcp 1.2.3.4:5 > 6.7.8.9:10 mss 1400", false},
		{"icmp 1.2.3.4 > 6.7.8.9 request id 1 seq 2", "icmp 1.2.3.4 > 6.7.8.9 request", true},
		{"icmp 1.2.3.4 > 6.7.8.9 request id 1 seq 2", "icmp 1.2.3.4 > 6.7.8.9 reply", false},
		{"icmp 1.2.3.4 > 6.7.8.9 type 3 code 3 about [udp 6.7.8.9:1 > 2.2.2.2:2 ttl 3 len 1000 cut 548]",
			"icmp 1.2.3.4 > 6.7.8.9 type 3 code 3 about [udp 6.7.8.9:1 > 2.2.2.2:2]", true},
		{"icmp 1.2.3.4 > 6.7.8.9 type 3 code 3 about [udp 6.7.8.9:1 > 2.2.2.2:2 ttl 3]",
			"icmp 1.2.3.4 > 6.7.8.9 type 3 code 3", true},
		{"icmp 1.2.3.4 > 6.7.8.9 type 3 code 3 about [udp 6.7.8.9:1 > 2.2.2.2:2 ttl 3]",
			"icmp 1.2.3.4 > 6.7.8.9 type 3 code 3 about [udp 6.7.8.9:1 > 2.2.2.2:2 ttl 4]", false},
		{"icmp 1.2.3.4 > 6.7.8.9 type 3 code 3 about [udp 6.7.8.9:1 > 2.2.2.2:2]",
			"icmp 1.2.3.4 > 6.7.8.9 type 3 code 3 about [udp 6.7.8.9:1 > 2.2.2.3:2]", false},
		{"arp who-has 1.2.3.4 tell 1.2.3.5 from 02:00:00:00:00:01", "arp who-has 1.2.3.4 tell 1.2.3.5", true},
		{"arp who-has 1.2.3.4 tell 1.2.3.5 from 02:00:00:00:00:01",
			"arp who-has 1.2.3.4 tell 1.2.3.5 from 02:00:00:00:00:02", false},
		{"arp reply 1.2.3.4 is-at 02:00:00:00:00:01 for 1.2.3.5", "arp reply 1.2.3.4 is-at any for 1.2.3.5", true},
		{"raw 0x0806 00", "arp who-has 1.2.3.4 tell 1.2.3.5", false},
	} {
		err := nettest.Match(c.line, frame(t, c.frame))
		if (err == nil) != c.ok {
			t.Errorf("%s\nwith %s: %v, want a match: %v", c.frame, c.line, err, c.ok)
		}
	}
}

func TestVerify(t *testing.T) {
	for line, want := range map[string]string{
		"udp 1.2.3.4:5 > 6.7.8.9:10 len 3":       "",
		"udp 1.2.3.4:5 > 6.7.8.9:10 len 3 sum 0": "",
		"udp 1.2.3.4:5 > 6.7.8.9:10 sum 1":       "wrong udp checksum",
		"udp 1.2.3.4:5 > 6.7.8.9:10 ipsum 1":     "wrong IP checksum",
		"tcp 1.2.3.4:5 > 6.7.8.9:10 S sum 0":     "wrong tcp checksum",
		"icmp 1.2.3.4 > 6.7.8.9 request sum 0":   "wrong icmp checksum",
		"udp 1.2.3.4:5 > 6.7.8.9:10 len 9 cut 32": "says 37 bytes, " +
			"but there are 32",
		"udp 1.2.3.4:5 > 6.7.8.9:10 more len 8":                   "udp says 16 bytes",
		"udp 1.2.3.4 > 6.7.8.9 off 8 len 8":                       "",
		"udp 1.2.3.4:5 > 6.7.8.9:10 len 3 pad 9":                  "",
		"tcp 1.2.3.4:5 > 6.7.8.9:10 S cut 19":                     "no IPv4 header",
		"raw 0x86dd 60":                                           "ethertype",
		"raw 0x0806 0001":                                         "no ARP",
		"raw 0x0800 4500001400000000400600003a":                   "no IPv4",
		"arp who-has 1.2.3.4 tell 1.2.3.5 from 02:00:00:00:00:01": "",
		"icmp 1.2.3.4 > 6.7.8.9 type 3 about [udp 6.7.8.9:1 > 2.2.2.2:2 sum 1]": "quoted packet: " +
			"wrong udp checksum",
		"icmp 1.2.3.4 > 6.7.8.9 type 3 about [udp 6.7.8.9:1 > 2.2.2.2:2 ipsum 1]": "quoted packet: " +
			"wrong IP checksum",
		"icmp 1.2.3.4 > 6.7.8.9 type 3 about [udp 6.7.8.9:1 > 2.2.2.2:2 len 9 cut 28]":   "",
		"icmp 1.2.3.4 > 6.7.8.9 type 3 about [tcp 6.7.8.9:1 > 2.2.2.2:2 S len 9 cut 28]": "",
	} {
		err := nettest.Verify(frame(t, line))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
}
