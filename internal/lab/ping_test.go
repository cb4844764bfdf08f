package lab

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// A neighbor that does not answer is given up after three seconds, by the host or by
// the router. Three echoes in the time that every step has are enough to see it.
func TestPingWaitsForUnreachable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ to, from string }{{"192.0.2.77", "192.0.2.10"}, {"198.51.100.77", "192.0.2.1"}} {
		t.Run(c.to, func(t *testing.T) {
			t.Parallel()
			out, err := play(t,
				"\n[[step]]\non = \"a\"\ndo = \"ping "+c.to+"\"\nfails = true\n"+
					"expect = \"From "+c.from+" icmp_seq=1 Destination Host Unreachable\"\n")
			if err != nil || !strings.Contains(out, "3 packets transmitted, 0 received, +3 errors") {
				t.Errorf("error %v:\n%s", err, out)
			}
		})
	}
}

// Lines come in the order of sending, whatever comes first.
func TestPingOrder(t *testing.T) {
	var out bytes.Buffer
	p := &pinger{command: &command{}, out: &out, sent: make([]request, 4)}
	end := func(seq int) {
		p.sent[seq-1].over, p.sent[seq-1].echo = true, echo{seq: seq}
		p.flush(false)
	}
	end(3)
	end(2)
	if out.Len() > 0 {
		t.Errorf("out of order: %q", out.String())
	}
	p.sent[0].over = true // given up
	p.flush(false)
	end(4)
	got := regexp.MustCompile(`icmp_seq=\d`).FindAllString(out.String(), -1)
	if strings.Join(got, " ") != "icmp_seq=2 icmp_seq=3 icmp_seq=4" {
		t.Errorf("got %q", got)
	}
}

// A packet that is sent just before the deadline may count as lost, so the last one has 200 ms.
func TestPingDeadline(t *testing.T) {
	t.Parallel()
	out, err := play(t, `
[[step]]
on = "a"
do = "ping -q -i 0.3 -w 0.5 198.51.100.10"
expect = ", 0% packet loss"
[[step]]
on = "a"
do = "ping -c 100 -w 0.3 198.51.100.10"
fails = true
`)
	if err != nil || strings.Contains(strings.SplitN(out, "2. ", 2)[0], "icmp_seq") ||
		strings.Contains(out, "cut short") {
		t.Errorf("error %v:\n%s", err, out)
	}
}
