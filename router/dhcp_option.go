package router

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/dhcp"
)

// An optionForm is how the value of a DHCP option is written in a message.
type optionForm uint8

const (
	formText optionForm = iota
	formAddresses
	formByte
	formShort // two bytes
	formLong  // four bytes
)

// dhcpOptions are the options that have names, as dnsmasq and so Neutron call them (extra_dhcp_opts), with their codes
// and forms (RFC 2132, RFC 4833).
var dhcpOptions = map[string]struct {
	code uint8
	form optionForm
}{
	"netmask": {1, formAddresses}, "time-offset": {2, formLong}, "router": {3, formAddresses},
	"dns-server": {6, formAddresses}, "log-server": {7, formAddresses}, "lpr-server": {9, formAddresses},
	"hostname": {12, formText}, "boot-file-size": {13, formShort}, "domain-name": {15, formText},
	"swap-server": {16, formAddresses}, "root-path": {17, formText}, "extension-path": {18, formText},
	"default-ttl": {23, formByte}, "mtu": {26, formShort}, "broadcast": {28, formAddresses},
	"nis-domain": {40, formText}, "nis-server": {41, formAddresses}, "ntp-server": {42, formAddresses},
	"netbios-ns": {44, formAddresses}, "netbios-dd": {45, formAddresses}, "netbios-nodetype": {46, formByte},
	"netbios-scope": {47, formText}, "x-windows-fs": {48, formAddresses}, "x-windows-dm": {49, formAddresses},
	"lease-time": {51, formLong}, "T1": {58, formLong}, "T2": {59, formLong}, "vendor-class": {60, formText},
	"tftp-server": {66, formText}, "bootfile-name": {67, formText}, "smtp-server": {69, formAddresses},
	"pop3-server": {70, formAddresses}, "irc-server": {74, formAddresses}, "posix-timezone": {100, formText},
	"tzdb-timezone": {101, formText}, "tftp-server-address": {150, formAddresses},
	"server-ip-address": {dhcp.OptionNextServer, formAddresses},
}

// optionsOf are the DHCP options of a port. An option that DHCP has no name or number for, or whose value is not of its
// form, is left out. Of two options of one code the later one counts.
func optionsOf(x *config.PortExtra) []dhcp.Option {
	if x == nil {
		return nil
	}
	var all []dhcp.Option
	for _, o := range x.DHCPOptions {
		if o.IPVersion == 6 {
			continue
		}
		d, ok := optionOf(o.Name, o.Value)
		if !ok {
			continue
		}
		found := false
		for i := range all {
			if all[i].Code == d.Code {
				all[i], found = d, true
			}
		}
		if !found {
			all = append(all, d)
		}
	}
	return all
}

func optionOf(name, value string) (dhcp.Option, bool) {
	known, ok := dhcpOptions[name]
	if !ok {
		n, err := strconv.ParseUint(name, 10, 8)
		if err != nil || n == 0 || n == dhcp.OptionNextServer {
			return dhcp.Option{}, false
		}
		known.code = uint8(n)
		for _, o := range dhcpOptions {
			if o.code == known.code {
				known.form = o.form
			}
		}
		if _, err := netip.ParseAddr(strings.Split(value, ",")[0]); err == nil {
			known.form = formAddresses
		}
	}
	if value == "" {
		return dhcp.Option{Code: known.code}, true // not even the subnet's is sent
	}
	b, ok := optionValue(known.form, value)
	return dhcp.Option{Code: known.code, Value: b}, ok
}

func optionValue(form optionForm, value string) ([]byte, bool) {
	size := map[optionForm]int{formByte: 1, formShort: 2, formLong: 4}[form]
	switch form {
	case formText:
		return []byte(value), len(value) < 256
	case formAddresses:
		var b []byte
		for text := range strings.SplitSeq(value, ",") {
			a, err := netip.ParseAddr(strings.TrimSpace(text))
			if err != nil || !a.Is4() {
				return nil, false
			}
			b = append(b, a.AsSlice()...)
		}
		return b, true
	}
	n, err := strconv.ParseInt(value, 0, 64)
	if err != nil || n < -1<<31 || n >= 1<<(8*size) {
		return nil, false
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(n))
	return b[8-size:], true
}
