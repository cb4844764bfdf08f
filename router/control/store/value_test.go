package store_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/control/store"
)

var update = flag.Bool("update", false, "write testdata/v1.json")

// A filler gives every field of an object a value of its own that is not zero.
type filler struct {
	*testing.T
	n int
}

func (f *filler) fill(v reflect.Value) {
	f.n++
	switch p := v.Addr().Interface().(type) {
	case *config.Device:
		f.device(p)
		return
	case *config.MAC:
		*p = config.MAC{2, 0, 0, 0, 0, byte(f.n)}
		return
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{192, 0, 2, byte(f.n)})
		return
	case *netip.AddrPort:
		*p = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(f.n)}), uint16(f.n))
		return
	case *netip.Prefix:
		*p = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(f.n), 0}), 24)
		return
	case *time.Time:
		*p = time.Date(2026, 11, 29, 10, 0, f.n, 123456789, time.UTC)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d <\u00e4\u2028>", f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.n))
	case reflect.Uint16:
		v.SetUint(uint64(f.n))
	case reflect.Float64:
		v.SetFloat(1 / float64(f.n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0))
		f.fill(v.Index(1))
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				f.Fatalf("%v has a field that is not exported: %s", v.Type(), v.Type().Field(i).Name)
			}
			f.fill(v.Field(i))
		}
	default:
		f.Fatalf("the test has no value of type %v yet", v.Type())
	}
}

// device is a device of one kind or another. A State's devices do not have HostOpen.
func (f *filler) device(d *config.Device) {
	if n := reflect.TypeFor[config.Device]().NumField(); n != 5 {
		f.Fatalf("a Device has %d fields: say here what the new one is", n)
	}
	if *d = (config.Device{Kind: config.DeviceTAP, Name: fmt.Sprint("tap", f.n), Netns: "blue"}); f.n%2 == 0 {
		*d = config.Device{Kind: config.DeviceUnix, Path: fmt.Sprint("/run/", f.n)}
	}
}

// full makes an object of a kind that has a value in every field.
func full(t *testing.T, k config.Kind) config.Object {
	t.Helper()
	o := store.New(k)
	f := &filler{T: t}
	f.fill(reflect.ValueOf(o).Elem())
	return o
}

func TestEveryFieldIsStored(t *testing.T) {
	for k := range config.NumKinds {
		for _, o := range []config.Object{full(t, k), store.New(k)} {
			value, err := store.Encode(o)
			if err != nil {
				t.Errorf("%v: %v", k, err)
				continue
			}
			got, err := store.Decode(o.Ref(), value)
			if err != nil || !reflect.DeepEqual(got, o) {
				t.Errorf("%v: %v\n got %+v\nwant %+v", k, err, got, o)
			}
		}
	}
	empty := &config.Router{NAT: config.NAT{NoSNAT: []netip.Prefix{}}} // another thing than nil
	value, _ := store.Encode(empty)
	if got, err := store.Decode(empty.Ref(), value); err != nil || !reflect.DeepEqual(got, config.Object(empty)) {
		t.Errorf("an empty list: %v, %+v", err, got)
	}
}

// The values of older versions stay readable. If this test fails because a field has been added, -update is enough. If
// a field has got another name or meaning, what people have stored is of a schema of before.
func TestSchema(t *testing.T) {
	const path = "testdata/v1.json"
	var file bytes.Buffer
	for k := range config.NumKinds {
		o := full(t, k)
		value, err := store.Encode(o)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&file, "%s %s\n", store.KeyOf(config.Ref{Kind: k, ID: "ID"}), value)
	}
	if *update {
		write(t, path, file.Bytes())
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(file.String(), "\n")
	for i, line := range strings.Split(string(want), "\n") {
		if i >= len(got) || got[i] != line {
			t.Errorf("line %d is no longer\n%s", i+1, line)
		}
	}
}

func TestBrokenValues(t *testing.T) {
	n := &config.Network{Meta: config.Meta{ID: "a", Name: "blue"}}
	value, err := store.Encode(n)
	if err != nil {
		t.Fatal(err)
	}
	for i := range value {
		for _, xor := range []byte{1, 0x20, 0x80} {
			broken := bytes.Clone(value)
			broken[i] ^= xor
			_, err := store.Decode(n.Ref(), broken)
			if !errors.Is(err, store.ErrBrokenValue) && !errors.Is(err, store.ErrNewerValue) {
				t.Errorf("byte %d: %v", i, err)
			} else if !strings.Contains(err.Error(), "/taprouter/v1/network/a") {
				t.Errorf("byte %d: %v does not name the key", i, err)
			}
		}
		if _, err := store.Decode(n.Ref(), value[:i]); err == nil {
			t.Errorf("cut after %d bytes", i)
		}
	}
	for _, c := range []struct {
		version int
		text    string
		want    error
	}{
		{2, `{"ID":"a"}`, store.ErrNewerValue},
		{1, `{"ID":"a","Color":"blue"}`, store.ErrNewerValue},
		{1, `{"ID":"b"}`, store.ErrBrokenValue},
		{1, `{"ID":"a"}{}`, store.ErrBrokenValue},
		{1, `{"ID":"a","MTU":"x"}`, store.ErrBrokenValue},
		{0, `{"ID":"a"}`, store.ErrBrokenValue},
		{1, ``, store.ErrBrokenValue},
	} {
		_, err := store.Decode(n.Ref(), store.Seal(c.version, []byte(c.text)))
		if !errors.Is(err, c.want) {
			t.Errorf("%d %s: %v, want %v", c.version, c.text, err, c.want)
		}
	}
	n.Name = "a\xff"
	if _, err := store.Encode(n); err == nil || !strings.Contains(err.Error(), "network/a") {
		t.Errorf("a name that is no text: %v", err)
	}
}

// FuzzDecode: no value makes decode panic, and what it takes can be written and read again.
func FuzzDecode(f *testing.F) {
	lines, err := os.ReadFile("testdata/v1.json")
	if err != nil {
		f.Fatal(err)
	}
	for k, line := range strings.Split(strings.TrimSpace(string(lines)), "\n") {
		_, value, _ := strings.Cut(line, " ")
		f.Add(uint8(k), false, []byte(value))
		f.Add(uint8(k), true, []byte(value[len("1 00000000 "):]))
	}
	f.Fuzz(func(t *testing.T, kind uint8, sealed bool, value []byte) {
		if sealed {
			value = store.Seal(1, value)
		}
		k := config.Kind(kind) % config.NumKinds
		for _, id := range []config.ID{"", "text 3 <\u00e4\u2028>"} { // those of the seeds
			r := config.Ref{Kind: k, ID: id}
			o, err := store.Decode(r, value)
			if err != nil {
				continue
			}
			again, err := store.Encode(o)
			if err != nil {
				continue // such as a device that no State has
			}
			got, err := store.Decode(r, again)
			if err != nil || !reflect.DeepEqual(got, o) {
				t.Errorf("%v\n got %+v\nwant %+v", err, got, o)
			}
		}
	})
}
