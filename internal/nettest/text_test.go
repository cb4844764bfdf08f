package nettest_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/internal/nettest"
)

// What Describe writes of a frame built from a line with everything in it is
// that line; an empty want stands for the line itself.
func TestParseDescribe(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{line: "udp 172.16.101.3:4000 > 8.8.8.8:53 ttl 64 id 7 len 20"},
		{line: "udp 1.2.3.4:5 > 6.7.8.9:10", want: "udp 1.2.3.4:5 > 6.7.8.9:10 ttl 64 id 7 len 0"},
		{line: "udp 1.2.3.4:5 > 6.7.8.9:10 ttl 64 id 7 len 5 sum 0x0000"},
		{line: "udp 1.2.3.4:5 > 6.7.8.9:10 ttl 64 id 7 data 616263 pad 7"},
		{line: "udp 1.2.3.4:5 > 6.7.8.9:10 ttl 64 id 7 tos 192 df ipopts 94040000 len 1 ipsum 0x0102"},
		{line: "udp 1.2.3.4:5 > 6.7.8.9:10 ttl 64 id 7 more len 16 of 24"},
		{line: "udp 1.2.3.4 > 6.7.8.9 ttl 64 id 7 off 24 len 8"},
		{line: "tcp 1.2.3.4:5 > 6.7.8.9:10 S seq 4294967295 ack 0 win 65535 mss 1460 ttl 64 id 7 len 0"},
		{line: "tcp 1.2.3.4:5 > 6.7.8.9:10 FP. seq 1 ack 2 win 3 opts 01010101 ttl 1 id 0 len 3"},
		{line: "tcp 1.2.3.4:5 > 6.7.8.9:10 none seq 1 ack 2 win 3 ttl 1 id 0 len 0"},
		{line: "tcp 1.2.3.4 > 6.7.8.9 ttl 64 id 7 off 8 more len 8"},
		{line: "icmp 1.2.3.4 > 6.7.8.9 request id 5 seq 6 ttl 64 ipid 7 len 10"},
		{line: "icmp 1.2.3.4 > 6.7.8.9 reply id 5 seq 6 ttl 64 ipid 7 len 10"},
		{line: "icmp 1.2.3.4 > 6.7.8.9 type 13 ttl 64 ipid 7 len 12"},
		{line: "icmp 1.2.3.4 > 6.7.8.9 type 12 pointer 21 ttl 64 ipid 7 " +
			"about [udp 6.7.8.9:10 > 5.5.5.5:6 ttl 63 id 9 ipopts 5e000000 len 0]"},
		{line: "icmp 1.2.3.4 > 6.7.8.9 type 3 code 4 mtu 1400 ttl 64 ipid 7 about [udp 6.7.8.9:10 > 5.5.5.5:6 ttl 63 " +
			"id 9 df len 1500 cut 548]"},
		{line: "icmp 1.2.3.4 > 6.7.8.9 type 11 ttl 64 ipid 7 about [tcp 6.7.8.9:10 > 5.5.5.5:6 S seq 1 ack 0 win 9 " +
			"ttl 1 id 9 len 0]"},
		{line: "icmp 1.2.3.4 > 6.7.8.9 type 11 ttl 64 ipid 7 about [icmp 6.7.8.9 > 5.5.5.5 request id 1 seq 2 ttl 1 " +
			"ipid 9 len 30]"},
		{line: "ip 1.2.3.4 > 6.7.8.9 proto 47 ttl 64 id 7 len 20"},
		{line: "arp who-has 10.0.0.1 tell 10.0.0.5"},
		{line: "arp who-has 10.0.0.1 tell 10.0.0.5 from 02:00:0a:00:00:05 to 02:00:0a:00:00:01"},
		{line: "arp reply 10.0.0.1 is-at 02:00:0a:00:00:01 for 10.0.0.5 to 02:00:0a:00:00:05"},
		{line: "raw 0x86dd 600000"},
	} {
		want := c.want
		if want == "" {
			want = c.line
		}
		if got := nettest.Describe(frame(t, c.line)); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}

// Headers of other programs: a line gives the same bytes.
func TestParseBytes(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"udp 192.168.0.1:1024 > 192.168.0.199:53 id 0 df len 87", // the example of many textbooks
			"4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7 0400 0035 005f"},
		{"arp who-has 10.0.0.1 tell 10.0.0.5 from 02:00:0a:00:00:05",
			"0001 0800 06 04 0001 02000a000005 0a000005 000000000000 0a000001"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := frame(t, c.line)[14:]; !bytes.HasPrefix(got, want) {
			t.Errorf("%s\n got %x\nwant %x", c.line, got, want)
		}
	}
}

// gopacket, which writes packets by itself, computes the same checksums.
func TestParseAgainstGopacket(t *testing.T) {
	for _, line := range []string{
		"udp 1.2.3.4:5 > 6.7.8.9:10 len 21",
		"tcp 1.2.3.4:5 > 6.7.8.9:10 S. seq 1 ack 2 mss 1460 len 4",
		"tcp 1.2.3.4:5 > 6.7.8.9:10 P. seq 1 ack 2 len 1001",
		"icmp 1.2.3.4 > 6.7.8.9 request id 1 seq 2 len 56",
		"icmp 1.2.3.4 > 6.7.8.9 type 3 code 4 mtu 1400 about [udp 6.7.8.9:10 > 5.5.5.5:6 len 1500 cut 548]",
	} {
		b := frame(t, line)
		p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
		if n, ok := p.TransportLayer().(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := n.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
				t.Fatal(err)
			}
		}
		buf := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializePacket(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			p); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(buf.Bytes(), b) {
			t.Errorf("%s\n got %x\nwant %x", line, b, buf.Bytes())
		}
	}
}

func frame(t *testing.T, line string) []byte {
	t.Helper()
	b, err := nettest.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseErrors(t *testing.T) {
	for line, want := range map[string]string{
		"":                                     "too early",
		"sctp 1.2.3.4 > 5.6.7.8":               "not \"sctp\"",
		"udp 1.2.3.4:1 > 5.6.7.8":              "ports belong",
		"icmp 1.2.3.4:1 > 5.6.7.8 request":     "ports belong",
		"udp 1.2.3.4:1 > 5.6.7.8:2 off 8":      "ports belong",
		"udp 1.2.3.4 > 5.6.7.8 off 7":          "multiple of 8",
		"udp 1.2.3.4:1 5.6.7.8:2":              "want \">\"",
		"udp 1.2.3.4:1 > 5.6.7.8:2 ttl":        "too early",
		"udp 1.2.3.4:1 > 5.6.7.8:2 ttl 256":    "out of range",
		"udp 1.2.3.4:1 > 5.6.7.8:2 seq 1":      "what is \"seq\"",
		"udp 1.2.3.4:1 > 5.6.7.8:2 ]":          "what is \"]\"",
		"udp 1.2.3:1 > 5.6.7.8:2":              "not an IPv4 endpoint",
		"ip ::1 > 5.6.7.8":                     "not an IPv4",
		"udp 1.2.3.4:1 > 5.6.7.8:2 len 65535":  "too long",
		"udp 1.2.3.4:1 > 5.6.7.8:2 len 3 of 2": "larger than of",
		"tcp 1.2.3.4:1 > 5.6.7.8:2 opts 01":    "in fours",
		"tcp 1.2.3.4:1 > 5.6.7.8:2 X":          "what is \"X\"",
		"icmp 1.2.3.4 > 5.6.7.8 type 3 about":  "too early",
		"arp who-has 1.2.3.4":                  "too early",
		"arp asks 1.2.3.4":                     "not \"asks\"",
		"raw 0x800 0":                          "odd length",
	} {
		if _, err := nettest.Parse(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", line, err, want)
		}
	}
}

// FuzzDescribe: any bytes can be described. The description is built again
// to the same bytes, and matches them.
func FuzzDescribe(f *testing.F) {
	for _, line := range []string{
		"udp 1.2.3.4:5 > 6.7.8.9:10 more len 16 of 24",
		"tcp 1.2.3.4:5 > 6.7.8.9:10 S mss 1460",
		"icmp 1.2.3.4 > 6.7.8.9 type 3 code 4 about [udp 6.7.8.9:10 > 5.5.5.5:6 len 100 cut 28]",
		"icmp 1.2.3.4 > 6.7.8.9 type 11 about [tcp 6.7.8.9:10 > 5.5.5.5:6 cut 28]",
		"arp reply 10.0.0.1 is-at 02:00:0a:00:00:01 for 10.0.0.5",
	} {
		b, err := nettest.Parse(line)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		line := nettest.Describe(b)
		if len(b) <= 14 {
			return // a runt, or nothing to describe
		}
		again, err := nettest.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again[12:], b[12:]) {
			t.Fatalf("%s\n got %x\nwant %x", line, again[12:], b[12:])
		}
		if err := nettest.Match(line, b); err != nil && nettest.Verify(b) == nil {
			t.Fatal("a frame does not match its own line: ", err)
		}
	})
}
