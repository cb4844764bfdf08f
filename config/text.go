package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// maxInterfaceName is the longest interface name in bytes: Linux's IFNAMSIZ
// less the terminating zero.
const maxInterfaceName = 15

// maxUnixPath is the longest path of a unix socket in bytes: sun_path of
// unix(7) less the terminating zero.
const maxUnixPath = 107

// ParseDevice reads a device as the topology file writes it: tap:NAME,
// tap:NAME@NETNS, raw:NAME or unix:PATH. It checks the names, not whether
// anything of that name exists.
func ParseDevice(text string) (Device, error) {
	kind, rest, found := strings.Cut(text, ":")
	if !found {
		return Device{}, fmt.Errorf("device %q has no kind; write tap:NAME, tap:NAME@NETNS, raw:NAME or unix:PATH",
			text)
	}
	d := Device{Kind: DeviceKind(kind)}
	switch d.Kind {
	case DeviceTAP:
		var inNetns bool
		d.Name, d.Netns, inNetns = strings.Cut(rest, "@")
		if inNetns && d.Netns == "" {
			return Device{}, fmt.Errorf("device %q names no network namespace after the @", text)
		}
	case DeviceRaw:
		d.Name = rest
	case DeviceUnix:
		d.Path = rest
	}
	if err := d.check(); err != nil {
		return Device{}, err
	}
	return d, nil
}

// check returns the fault of a device, nil if it has none.
func (d Device) check() error {
	switch d.Kind {
	case DeviceTAP, DeviceRaw:
		if err := checkInterfaceName(d); err != nil {
			return err
		}
		return checkNetns(d)
	case DeviceUnix:
		return checkUnixPath(d)
	}
	kinds := []string{string(DeviceTAP), string(DeviceRaw), string(DeviceUnix)}
	return errors.New(UnknownOf("device kind", string(d.Kind), kinds))
}

// checkInterfaceName applies the kernel's rule for names (dev_valid_name), and
// refuses %, which makes TUNSETIFF choose another name than the file's.
func checkInterfaceName(d Device) error {
	switch {
	case d.Name == "":
		return fmt.Errorf("device %q names no interface", d)
	case len(d.Name) > maxInterfaceName:
		return fmt.Errorf("device %q: an interface name has at most %d bytes, this one has %d", d, maxInterfaceName,
			len(d.Name))
	case d.Name == "." || d.Name == "..":
		return fmt.Errorf("device %q: an interface cannot be called that", d)
	case d.Path != "":
		return fmt.Errorf("device %q: only a unix device has a path", d)
	}
	if i := strings.IndexFunc(d.Name, notInInterfaceName); i >= 0 {
		return fmt.Errorf("device %q: an interface name cannot hold %q", d, []rune(d.Name[i:])[0])
	}
	return nil
}

func notInInterfaceName(r rune) bool {
	return strings.ContainsRune("/:%@", r) || unicode.IsSpace(r) || unicode.IsControl(r)
}

// checkNetns: a named network namespace is a file in one directory.
func checkNetns(d Device) error {
	switch {
	case d.Netns == "":
		return nil
	case d.Kind != DeviceTAP:
		return fmt.Errorf("device %q: only a tap device can be placed in a network namespace", d)
	case d.Netns == "." || d.Netns == ".." || strings.IndexFunc(d.Netns, notInNetns) >= 0:
		return fmt.Errorf("device %q: %q cannot be the name of a network namespace", d, d.Netns)
	}
	return nil
}

func notInNetns(r rune) bool { return r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) }

func checkUnixPath(d Device) error {
	switch {
	case d.Name != "" || d.Netns != "":
		return fmt.Errorf("device %q: a unix device has a path and nothing else", d)
	case d.Path == "":
		return fmt.Errorf("device %q names no path", d)
	case len(d.Path) > maxUnixPath:
		return fmt.Errorf("device %q: the path of a socket has at most %d bytes, this one has %d", d, maxUnixPath,
			len(d.Path))
	case strings.ContainsRune(d.Path, 0):
		return fmt.Errorf("device %q: a path cannot hold a zero byte", d)
	}
	return nil
}

// attachment is the device as the kernel tells it from others: two kinds may open the same interface.
func (d Device) attachment() string { return d.Name + "\x00" + d.Netns + "\x00" + d.Path }

func (d Device) isRaw() bool { return d.Kind == DeviceRaw }

// String writes the device as the topology file does.
func (d Device) String() string {
	switch {
	case d.Kind == DeviceUnix:
		return string(d.Kind) + ":" + d.Path
	case d.Netns != "":
		return string(d.Kind) + ":" + d.Name + "@" + d.Netns
	}
	return string(d.Kind) + ":" + d.Name
}

// MarshalText writes the device as String does. A device that ParseDevice
// would not take is an error.
func (d Device) MarshalText() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads what ParseDevice reads.
func (d *Device) UnmarshalText(text []byte) error {
	parsed, err := ParseDevice(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}

// ParseMAC reads a 48-bit Ethernet address: six bytes with colons or hyphens between them, or three groups of two
// bytes with dots. It must be one that a host can own: neither a group address nor all zeros.
func ParseMAC(text string) (MAC, error) {
	m, ok := parseMAC(text)
	switch {
	case !ok:
		return MAC{}, fmt.Errorf("%q is not a MAC address such as fa:16:3e:aa:bb:03", text)
	case m.IsZero():
		return MAC{}, fmt.Errorf("MAC address %s is nobody's: it is all zeros", text)
	case m.isGroup():
		return MAC{}, fmt.Errorf("MAC address %v is a group's, not a host's: the first byte is odd", m)
	}
	return m, nil
}

func parseMAC(text string) (MAC, bool) {
	for _, form := range []struct {
		separator string
		groups    int
	}{{":", 6}, {"-", 6}, {".", 3}} {
		groups := strings.Split(text, form.separator)
		if len(groups) != form.groups {
			continue
		}
		for _, g := range groups {
			if len(g) != 2*len(MAC{})/form.groups {
				return MAC{}, false
			}
		}
		b, err := hex.DecodeString(strings.Join(groups, ""))
		if err != nil {
			return MAC{}, false
		}
		return MAC(b), true
	}
	return MAC{}, false
}

// IsZero says whether there is no address.
func (m MAC) IsZero() bool { return m == MAC{} }

// isGroup tests the individual/group bit (IEEE 802, 8.2).
func (m MAC) isGroup() bool { return m[0]&1 != 0 }

// String writes the address as fa:16:3e:aa:bb:03, the zero value as "".
func (m MAC) String() string {
	if m.IsZero() {
		return ""
	}
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// MarshalText writes the address as String does.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what ParseMAC reads, and no text at all as the zero value.
func (m *MAC) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = MAC{}
		return nil
	}
	parsed, err := ParseMAC(string(text))
	if err == nil {
		*m = parsed
	}
	return err
}

// String writes the range as the topology file does: FIRST-LAST.
func (r AddressRange) String() string { return r.First.String() + "-" + r.Last.String() }

// Contains says whether a is in the range.
func (r AddressRange) Contains(a netip.Addr) bool {
	return r.First.BitLen() == a.BitLen() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}
