package packet_test

import (
	"testing"

	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
)

func TestSummary(t *testing.T) {
	for _, c := range []struct{ frame, want string }{
		{"tcp 10.0.0.1:4000 > 10.0.0.2:80 S seq 1 len 0", "10.0.0.1:4000 > 10.0.0.2:80 tcp S, ttl 64, length 40"},
		{"tcp 10.0.0.1:4000 > 10.0.0.2:80 . seq 1 ack 1 len 5 ttl 9",
			"10.0.0.1:4000 > 10.0.0.2:80 tcp ., ttl 9, length 45"},
		{"udp 10.0.0.1:4000 > 10.0.0.2:53 len 3", "10.0.0.1:4000 > 10.0.0.2:53 udp, ttl 64, length 31"},
		{"udp 10.0.0.1:4000 > 10.0.0.2:53 id 7 more len 16 of 40",
			"10.0.0.1:4000 > 10.0.0.2:53 udp, fragment at 0 of id 7, ttl 64, length 44"},
		{"udp 10.0.0.1 > 10.0.0.2 id 7 off 24 len 24",
			"10.0.0.1 > 10.0.0.2 udp, fragment at 24 of id 7, the last, ttl 64, length 44"},
		{"icmp 10.0.0.1 > 10.0.0.2 request id 3 seq 4",
			"10.0.0.1 > 10.0.0.2 icmp echo request id 3 seq 4, ttl 64, length 28"},
		{"icmp 10.0.0.1 > 10.0.0.2 reply id 3 seq 4",
			"10.0.0.1 > 10.0.0.2 icmp echo reply id 3 seq 4, ttl 64, length 28"},
		{"icmp 10.0.0.9 > 10.0.0.1 type 3 code 1 about [udp 10.0.0.1:4 > 10.0.0.2:5 len 0]",
			"10.0.0.9 > 10.0.0.1 icmp unreachable code 1 " +
				"about [10.0.0.1:4 > 10.0.0.2:5 udp, ttl 64, length 28], ttl 64, length 56"},
		{"icmp 10.0.0.9 > 10.0.0.1 type 13 len 12", "10.0.0.9 > 10.0.0.1 icmp type 13 code 0, ttl 64, length 40"},
		{"ip 10.0.0.1 > 10.0.0.2 proto 47 len 4", "10.0.0.1 > 10.0.0.2 proto-47, ttl 64, length 24"},
		{"arp who-has 10.0.0.2 tell 10.0.0.1", "arp who has 10.0.0.2? tell 10.0.0.1"},
		{"arp reply 10.0.0.2 is-at 02:00:00:00:00:02 for 10.0.0.1", "arp 10.0.0.2 is at 02:00:00:00:00:02"},
		{"raw 0x8100 00050800", "vlan 5, ethertype 0x0800"},
		{"raw 0x86dd 6000", "ethertype 0x86dd, 2 bytes"},
	} {
		eth, err := nettest.Parse(c.frame)
		if err != nil {
			t.Errorf("%s: %v", c.frame, err)
			continue
		}
		if got := packet.Summary(eth); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.frame, got, c.want)
		}
		for n := range eth { // cut anywhere, it says something
			if packet.Summary(eth[:n]) == "" {
				t.Errorf("%s, %d bytes of it: nothing", c.frame, n)
			}
		}
	}
}
