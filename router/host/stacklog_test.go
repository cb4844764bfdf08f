package host_test

import (
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// provoke has gVisor complain in its log while a host with this logger is open. It complains of such a thing once a
// second, so provoke tries again until another host's logger has heard of it.
func provoke(t *testing.T, log *slog.Logger) {
	t.Helper()
	var heard lines
	dev, _ := tap.Pipe("witness", "test", tap.PipeOptions{})
	start(t, dev, host.Config{Name: "witness", Address: netip.MustParsePrefix(addrA + "/24"),
		Logger: slog.New(slog.NewTextHandler(&heard, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	patience := within(t)
	for !strings.Contains(heard.String(), complaint) {
		provokeOnce(t, log)
		select {
		case <-time.After(50 * time.Millisecond):
		case <-patience.Done():
			t.Fatal("gVisor does not complain")
		}
	}
}

const complaint = "handleListenSegment() failed"

// provokeOnce has a host receive what gVisor may complain about: a SYN for which the host has no way back.
func provokeOnce(t *testing.T, log *slog.Logger) {
	t.Helper()
	dev, far := tap.Pipe("host", "test", tap.PipeOptions{})
	h := start(t, dev, host.Config{Name: "a", Address: netip.MustParsePrefix(addrA + "/24"), Logger: log})
	if err := h.ServeEcho(7); err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{}, 1)
	receive(t, far, func(_ vnet, frame []byte) {
		if len(frame) > 20 && frame[12] == 8 && frame[13] == 0 {
			answered <- struct{}{}
		}
	})
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: []byte{192, 0, 2, 1},
		DstIP: mustAddr(addrA).AsSlice()}
	tcp := &layers.TCP{SrcPort: 1000, DstPort: 7, SYN: true, Window: 1000}
	_ = tcp.SetNetworkLayerForChecksum(ip)
	eth := &layers.Ethernet{SrcMAC: peerMAC, DstMAC: h.MAC(), EthernetType: layers.EthernetTypeIPv4}
	write(t, far, vnet{}, build(t, eth, ip, tcp))
	// An answer to a SYN that came later shows that the first one is done with.
	ip.SrcIP = mustAddr("10.10.10.77").AsSlice()
	write(t, far, vnet{}, arpPacket(t, 1, peerMAC, mustAddr("10.10.10.77"), h.MAC(), mustAddr(addrA)))
	write(t, far, vnet{}, build(t, eth, ip, tcp))
	select {
	case <-answered:
	case <-within(t).Done():
		t.Fatal("the second SYN is not answered")
	}
}

// Messages of gVisor become debug lines of the hosts' loggers.
func TestStackLog(t *testing.T) {
	var out lines
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	provoke(t, log)
	if got := out.String(); !strings.Contains(got, "level=DEBUG") || !strings.Contains(got, complaint) {
		t.Errorf("the logger has %q", got)
	}
}

// Without a logger nothing is said: not on standard error either, which only
// another process can look at.
func TestStackLogIsQuiet(t *testing.T) {
	if os.Getenv("TAPROUTER_PROVOKE") != "" {
		provoke(t, nil)
		provoke(t, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestStackLogIsQuiet$")
	cmd.Env = append(os.Environ(), "TAPROUTER_PROVOKE=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(stderr)
	if err := cmd.Wait(); err != nil || len(said) > 0 {
		t.Errorf("%v; standard error has %q", err, said)
	}
}

// Loggers are forgotten with their hosts.
func TestStackLogForgets(t *testing.T) {
	var out lines
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	t.Run("open", func(t *testing.T) {
		a, _ := tap.Pipe("a", "b", tap.PipeOptions{})
		start(t, a, host.Config{Address: netip.MustParsePrefix(addrA + "/24"), Logger: log})
	})
	before := out.String()
	provoke(t, nil)
	if got := out.String(); got != before {
		t.Errorf("a closed host's logger has %q", got)
	}
}
