package nettest_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/nettest"
)

func TestPcap(t *testing.T) {
	want := []nettest.Captured{
		{At: 0, Frame: frame(t, "arp who-has 10.0.0.1 tell 10.0.0.5")},
		{At: 1500 * time.Millisecond, Frame: frame(t, "udp 1.2.3.4:5 > 6.7.8.9:10 len 20")},
	}
	var file bytes.Buffer
	if err := nettest.WritePcap(&file, want); err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(file.Bytes())
	got, err := nettest.ReadPcap(&file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
	if _, err := nettest.ReadPcap(bytes.NewReader(whole[:len(whole)-1])); err == nil {
		t.Error("a cut file is read without an error")
	}
}
