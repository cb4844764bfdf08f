package tap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/gopacket/pcapgo"

	"github.com/taprouter/taprouter/tap"
)

func TestCaptureIsReadBack(t *testing.T) {
	var file bytes.Buffer
	w, err := tap.NewCaptureWriter(&file, 64)
	if err != nil {
		t.Fatal(err)
	}
	near, far := tap.Pipe("tap:blue", "far", tap.PipeOptions{B: tap.FeatureChecksum, A: tap.FeatureChecksum})
	dev := tap.Capture(near, w)
	if dev.Name() != "tap:blue" || dev.Features() != near.Features() {
		t.Error("the wrapper changes what it must not")
	}
	write(t, far, "a frame that comes in")
	if got := read(t, dev); len(got) != 1 {
		t.Fatalf("read %v", got)
	}
	sum := []byte{9, 9, 0x12, 0x34, 0, 5, 7, 8, 9}
	if n, err := dev.Write([]tap.Frame{partial(sum), frame(strings.Repeat("long", 50))}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	w.Packet(w.Interface("by hand"), time.Unix(1, 5), true, []byte("x"), "why it was dropped")
	if w.Err() != nil {
		t.Fatal(w.Err())
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(file.Bytes()), pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		data, ci, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		i, _ := r.Interface(ci.InterfaceIndex)
		if at := time.Unix(1, 5); i.Name == "by hand" && !ci.Timestamp.Equal(at) {
			t.Errorf("the time is %v, want %v, to the nanosecond", ci.Timestamp, at)
		}
		got = append(got, fmt.Sprintf("%s %d/%d %q", i.Name, ci.CaptureLength, ci.Length, data[:min(len(data), 9)]))
	}
	done := append([]byte(nil), sum...)
	binary.BigEndian.PutUint16(done[4:], ^uint16(0x1234+5+0x0708+0x0900))
	want := []string{`tap:blue 21/21 "a frame t"`, fmt.Sprintf("tap:blue 9/9 %q", done),
		`tap:blue 64/200 "longlongl"`, `by hand 1/1 "x"`}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	if !bytes.Contains(file.Bytes(), []byte("why it was dropped")) {
		t.Error("the comment is not in the file")
	}
	tshark(t, file.Bytes(), 4)
}

// tshark counts the packets of a capture, where there is a tshark.
func tshark(t *testing.T, file []byte, want int) {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("missing: tshark (make test-deps installs it)")
		}
		t.Skip("missing: tshark (make test-deps installs it); gopacket has read it back")
	}
	path := filepath.Join(t.TempDir(), "x.pcapng")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tshark", "-r", path, "-T", "fields", "-e", "frame.number", "-e", "frame.comment").Output()
	if err != nil || strings.Count(string(out), "\n") != want || !strings.Contains(string(out), "why it was dropped") {
		t.Errorf("tshark: %v\n%s", err, out)
	}
}

// failing is a writer that fails at once.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestCaptureReportsItsWriter(t *testing.T) {
	if _, err := tap.NewCaptureWriter(failing{}, 0); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("error %v", err)
	}
}

// pass sends n numbered frames through a faulty device, one batch each, and
// returns what arrives.
func pass(t *testing.T, opt tap.FaultOptions, n int, inbound bool) []string {
	t.Helper()
	near, far := tap.Pipe("a", "b", tap.PipeOptions{Frames: 10 * n})
	dev := tap.Fault(near, opt)
	from, to := dev, far
	if inbound {
		from, to = far, dev
	}
	var batch []tap.Frame
	for i := range n {
		batch = append(batch, frame(fmt.Sprintf("%04d", i)))
	}
	if taken, err := from.Write(batch); taken != n || err != nil {
		t.Fatal(taken, err)
	}
	got := read(t, to)
	time.Sleep(time.Second) // in the bubble: frames that were held back come
	return append(got, read(t, to)...)
}

func TestFaults(t *testing.T) { synctest.Test(t, faults) }

func faults(t *testing.T) {
	const n = 2000
	for _, inbound := range []bool{false, true} {
		clean := pass(t, tap.FaultOptions{}, n, inbound)
		if len(clean) != n {
			t.Fatalf("%d of %d without faults", len(clean), n)
		}
		within := func(what string, got, lo, hi int) {
			t.Helper()
			if got < lo || got > hi {
				t.Errorf("%s: %d, want %d to %d", what, got, lo, hi)
			}
		}
		within("after drops", len(pass(t, tap.FaultOptions{Drop: 0.1}, n, inbound)), 1700, 1900)
		within("after duplication", len(pass(t, tap.FaultOptions{Duplicate: 0.1}, n, inbound)), 2100, 2300)
		changed, moved, all := 0, 0, pass(t, tap.FaultOptions{Corrupt: 0.1}, n, inbound)
		for i, x := range all {
			if x != clean[i] {
				changed++
			}
		}
		within("corrupted", changed, 100, 300)
		all = pass(t, tap.FaultOptions{Reorder: 0.1}, n, inbound)
		seen := map[string]bool{}
		for i, x := range all {
			seen[x] = true
			if i > 0 && x < all[i-1] {
				moved++
			}
		}
		within("moved", moved, 100, 300)
		if len(seen) != n {
			t.Errorf("reordering lost %d frames", n-len(seen))
		}
		opt := tap.FaultOptions{Drop: 0.1, Duplicate: 0.1, Reorder: 0.1, Corrupt: 0.1, Seed: 5}
		first := fmt.Sprint(pass(t, opt, n, inbound))
		if again := fmt.Sprint(pass(t, opt, n, inbound)); again != first {
			t.Error("the same seed makes different faults")
		}
		opt.Seed = 6
		if other := fmt.Sprint(pass(t, opt, n, inbound)); other == first {
			t.Error("another seed makes the same faults")
		}
	}
	near, far := tap.Pipe("a", "b", tap.PipeOptions{})
	dev := tap.Fault(near, tap.FaultOptions{Reorder: 1})
	woken := make(chan struct{}, 2)
	dev.Notify(func() { woken <- struct{}{} })
	write(t, far, "only one")
	<-woken
	if got := read(t, dev); len(got) != 0 {
		t.Errorf("nothing is held back: %v", got)
	}
	<-woken
	if got := read(t, dev); fmt.Sprint(got) != "[only one]" {
		t.Errorf("a frame that is held back is lost: %v", got)
	}
	write(t, dev, "one", "two", "three")
	if got := read(t, far); fmt.Sprint(got) != "[two one]" {
		t.Errorf("reordered into %v", got)
	}
	time.Sleep(time.Second)
	if got := read(t, far); fmt.Sprint(got) != "[three]" {
		t.Errorf("a frame that is held back is lost: %v", got)
	}
	far.Close()
	if _, err := dev.Read(slots(1)); !errors.Is(err, tap.ErrGone) {
		t.Errorf("error of the device: %v", err)
	}
}

// A measured device has an MTU, and joins segments if it is told to.
type measured struct {
	tap.Device
	mtu   int
	joins bool
}

func (d *measured) SetGRO(on bool) { d.joins = on }

func (d *measured) MTU() int { return d.mtu }

func (d *measured) SetMTU(mtu int) error {
	d.mtu = mtu
	return nil
}

// A wrapper passes on what only some devices have.
func TestWrappersKeepWhatSomeDevicesHave(t *testing.T) {
	w, err := tap.NewCaptureWriter(io.Discard, 0)
	if err != nil {
		t.Fatal(err)
	}
	type full interface {
		MTU() int
		SetMTU(int) error
		SetGRO(bool)
	}
	for name, wrap := range map[string]func(tap.Device) tap.Device{
		"capture": func(d tap.Device) tap.Device { return tap.Capture(d, w) },
		"fault":   func(d tap.Device) tap.Device { return tap.Fault(d, tap.FaultOptions{}) },
	} {
		pipe, _ := tap.Pipe("a", "b", tap.PipeOptions{})
		d := &measured{Device: pipe, mtu: 1400}
		got, ok := wrap(d).(full)
		if !ok || got.MTU() != 1400 || got.SetMTU(9000) != nil || d.mtu != 9000 {
			t.Errorf("%s: the device's own MTU is %d", name, d.mtu)
		}
		if got.SetGRO(true); !d.joins {
			t.Errorf("%s: the device is not told to join segments", name)
		}
		plain, ok := wrap(pipe).(full)
		if !ok || plain.MTU() != 0 || plain.SetMTU(9000) != nil {
			t.Errorf("%s: of a device without an MTU", name)
		}
		plain.SetGRO(true)
	}
}
