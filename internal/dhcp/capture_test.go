package dhcp_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/taprouter/taprouter/internal/dhcp"
)

// A captured exchange, with all options, is what tshark takes for DHCP, and nothing in it is malformed.
func TestCapture(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	w := newWorld(t)
	s := &w.c.Subnets[0]
	s.Search = []string{"example.org", "eng.example.org"}
	s.Routes = []dhcp.Route{{Destination: prefix("10.8.0.0/16"), NextHop: addr("10.0.0.8")}}
	w.port(2, "10.0.0.50").Options = []dhcp.Option{{Code: 66, Value: []byte("10.0.0.7")}, {Code: 67,
		Value: []byte("boot")}}
	name := filepath.Join(t.TempDir(), "dhcp.pcap")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	capture := pcapgo.NewWriter(f)
	if err := capture.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	frames := 0
	frame := func(eth layers.Ethernet, ip layers.IPv4, udp layers.UDP, payload []byte) {
		t.Helper()
		eth.EthernetType, ip.Version, ip.TTL, ip.Protocol = layers.EthernetTypeIPv4, 4, 64, layers.IPProtocolUDP
		if err := udp.SetNetworkLayerForChecksum(&ip); err != nil {
			t.Fatal(err)
		}
		b := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, &eth,
			&ip,
			&udp, gopacket.Payload(payload)); err != nil {
			t.Fatal(err)
		}
		frames++
		info := gopacket.CaptureInfo{Timestamp: w.now, CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}
		if err := capture.WritePacket(info, b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	server := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, p := range []*dhcpv4.DHCPv4{
		message(1, discover), message(1, asking, asks("10.0.0.100"), to("10.0.0.1"), clientID("\x00one")),
		message(1, asking, asks("10.0.0.7")), message(2, discover, dhcpv4.WithBroadcast(true)),
		message(2, inform, at("10.0.0.50")),
		message(3, discover, dhcpv4.WithRelay(net.IP{10, 0, 0, 9}), dhcpv4.WithOption(dhcpv4.OptRelayAgentInfo(
			dhcpv4.OptGeneric(dhcpv4.AgentCircuitIDSubOption, []byte("eth7"))))),
	} {
		p.DeleteOption(dhcpv4.OptionParameterRequestList)
		rq := request(p)
		frame(layers.Ethernet{SrcMAC: rq.SourceMAC[:], DstMAC: layers.EthernetBroadcast},
			layers.IPv4{SrcIP: rq.Src.AsSlice(), DstIP: rq.Dst.AsSlice()}, layers.UDP{SrcPort: 68, DstPort: 67},
			rq.Payload)
		a, answer := w.serve(rq)
		if answer == nil {
			t.Fatalf("%v: %v", p.MessageType(), a.Reason)
		}
		frame(layers.Ethernet{SrcMAC: server, DstMAC: a.ToMAC[:]},
			layers.IPv4{SrcIP: a.From.AsSlice(), DstIP: a.To.Addr().AsSlice()},
			layers.UDP{SrcPort: 67, DstPort: layers.UDPPort(a.To.Port())}, a.Payload)
		w.now = w.now.Add(time.Second)
	}
	out, err := exec.Command(tshark, "-r", name, "-T", "fields", "-e", "dhcp.option.dhcp", "-e", "_ws.malformed",
		"-e", "_ws.expert.message").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if len(lines) != frames {
		t.Fatalf("tshark sees %d frames of %d:\n%s", len(lines), frames, out)
	}
	for i, line := range lines {
		if kind, rest, _ := strings.Cut(line, "\t"); kind == "" || strings.Trim(rest, "\t") != "" {
			t.Errorf("frame %d is %q", i+1, line)
		}
	}
}
