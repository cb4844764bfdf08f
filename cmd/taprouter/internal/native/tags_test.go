package native_test

import (
	"strings"
	"testing"

	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/tap"
)

// A frame with the tag of no network is among the drops, with its device and tag.
func TestDropsByTag(t *testing.T) {
	w := newWorld(t, nil)
	dev, err := w.engine.Attach("tenant", 0)
	if err != nil {
		t.Fatal(err)
	}
	f := tap.Frame{Buf: make([]byte, tap.HeaderLen+64), Tail: tap.HeaderLen + 64}
	copy(f.Buf[tap.HeaderLen+6:], []byte{2, 0, 0, 0, 0, 1, 0x81, 0, 0x60, 77, 8, 0})
	if _, err := dev.Write([]tap.Frame{f}); err != nil {
		t.Fatal(err)
	}
	for w.engine.Stats().Drops[router.DropVLANTag] == 0 { // the frame is on its way
	}
	a := w.do("GET", "/drops", "")
	for _, want := range []string{`"reason":"vlan-tag"`, `"tags":[{"device":"pipe:tenant#`, `"vlan":77,"packets":1}`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in\n%s", want, a.body)
		}
	}
}
