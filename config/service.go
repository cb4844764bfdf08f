package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// This file has what the local services of networks tell hosts, and where they ask in turn.

// Limits of what the metadata of one port has, and of the servers that are asked.
const (
	MaxUserData   = 65535 // bytes
	MaxSSHKeys    = 100
	maxSSHKey     = 16 << 10 // bytes of a line
	maxNameServer = 16
	maxSearch     = 32
)

// DNSPort is the port of a name server, unless another one is named.
const DNSPort = 53

// fillVia fills in the way to other servers.
func (s *Settings) fillVia() {
	for _, via := range []*string{&s.DNS.Via, &s.Metadata.Via} {
		word(via, ways...)
		fallback(via, ViaRouter)
	}
}

// serviceValues are the settings of local services.
func (s *Settings) serviceValues() []value {
	return []value{
		several("dns.forward", s.DNS.Forward, nameServerText),
		one("dns.via", s.DNS.Via),
		one("metadata.forward", s.Metadata.Forward),
		one("metadata.secret", s.Metadata.Secret).with(hidden),
		one("metadata.via", s.Metadata.Via),
	}
}

// nameServerText writes a name server as the file has it.
func nameServerText(a netip.AddrPort) string {
	if a.Port() == DNSPort {
		return a.Addr().String()
	}
	return a.String()
}

// ParseNameServer reads a name server: an address, or an address and a port such as 9.9.9.9:53 and [2620:fe::fe]:53.
func ParseNameServer(text string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a, DNSPort), nil
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of a name server, such as 9.9.9.9 or 9.9.9.9:53", text)
	}
	return a, nil
}

// UserDataOf returns the user data of a port, nil if there are none. It is empty for text that is no base64.
func (x *PortExtra) UserDataOf() []byte {
	if x == nil || x.UserData == "" {
		return nil
	}
	b, _ := base64.StdEncoding.DecodeString(x.UserData)
	return b
}

// userDataValue tells user data apart without showing them: they may hold passwords.
func userDataValue(text string) value {
	if text == "" {
		return value{key: "user_data"}
	}
	b, _ := base64.StdEncoding.DecodeString(text)
	sum := sha256.Sum256(b)
	return one("user_data", fmt.Sprintf("%d bytes (SHA-256 %x...)", len(b), sum[:4]))
}

// checkForwards checks the servers that local services ask.
func (c *checker) checkForwards(s *Settings) {
	w := at(s).in("dns", Source{})
	oneOf(c, w, "dns.via", s.DNS.Via, ways)
	if n := len(s.DNS.Forward); n > maxNameServer {
		c.fault(w, "dns.forward", Invalid, "forward has %d name servers; it may have %d", n, maxNameServer)
	}
	for i, server := range s.DNS.Forward[:min(len(s.DNS.Forward), maxNameServer)] {
		field, word := indexed("dns.forward", i), indexed("forward", i)
		switch {
		case server.Port() == 0:
			c.fault(w, field, Invalid, "%s %v has no port; leave it out for %d", word, server.Addr(), DNSPort)
		case slices.Contains(s.DNS.Forward[:i], server):
			c.fault(w, field, Invalid, "%s %s is there already", word, nameServerText(server))
		default:
			c.checkServer(w, field, word, server.Addr(), s.DNS.Via)
		}
	}
	w = at(s).in("metadata", Source{})
	oneOf(c, w, "metadata.via", s.Metadata.Via, ways)
	if s.Metadata.Forward == "" {
		if s.Metadata.Secret != "" {
			c.fault(w, "metadata.secret", Invalid,
				"secret signs for a metadata service elsewhere; name it as forward, or leave the secret out")
		}
		return
	}
	c.checkMetadataURL(w, &s.Metadata)
}

// checkServer checks that a server can be reached in the way that has been chosen.
func (c *checker) checkServer(w where, field, word string, a netip.Addr, via string) {
	switch {
	case a.IsUnspecified(), a.IsMulticast(), a.Is4In6(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		c.fault(w, field, Invalid, "%s %v is no address of a server", word, a)
	case via == ViaHost:
	case !a.Is4():
		c.fault(w, field, Invalid, `%s %v: routers ask over IPv4 only; write an IPv4 address, or via = "host"`,
			word, a)
	default:
		for _, p := range notHosts {
			if p.Contains(a) {
				c.fault(w, field, Invalid,
					`%s %v is in %v, where no host can be; for this machine itself, via = "host"`, word, a, p)
				return
			}
		}
		c.checkForwarded(w, field, word, a)
	}
}

// checkMetadataURL checks the URL of the metadata service that requests are passed on to.
func (c *checker) checkMetadataURL(w where, m *Metadata) {
	const field = "metadata.forward"
	u, err := url.Parse(m.Forward)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Opaque != "":
		c.fault(w, field, Invalid, "forward must be a URL, such as http://10.0.0.5:8775, not %q",
			clip(m.Forward, maxName))
		return
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		c.fault(w, field, Invalid, "forward may have neither a user nor a query nor a fragment")
		return
	}
	if m.Via == ViaHost {
		return
	}
	a, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		c.fault(w, field, Invalid, `forward names the host %q: routers look up no names; write its IPv4 address, or `+
			`via = "host"`, clip(u.Hostname(), maxName))
		return
	}
	c.checkServer(w, field, "forward", a, m.Via)
}

// checkSearch checks the domains in which hosts look for names.
func (c *checker) checkSearch(w where, s *Subnet) {
	if s.Extra == nil {
		return
	}
	if n := len(s.Extra.DNSSearch); n > maxSearch {
		c.fault(w, "dns_search", Invalid, "dns_search has %d domains; it may have %d", n, maxSearch)
		return
	}
	for i, d := range s.Extra.DNSSearch {
		if !isDomainName(strings.TrimSuffix(d, ".")) {
			c.fault(w, indexed("dns_search", i), Invalid, "%s %q is no domain, such as lab.example",
				indexed("dns_search", i), clip(d, maxName))
		}
	}
}

// isDomainName says whether a text is a domain: labels of letters, digits, underscores and inner hyphens, with dots
// between them.
func isDomainName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(strings.ReplaceAll(label, "_", "x")) {
			return false
		}
	}
	return true
}

// isLabel says whether a text is one label of a host's name (RFC 1123, 2.1).
func isLabel(label string) bool {
	return label != "" && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-' &&
		!strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		})
}

// checkInstanceData checks what the metadata service tells a port's instance.
func (c *checker) checkInstanceData(w where, p *Port) {
	x := p.Extra
	if x == nil {
		return
	}
	if x.Hostname != "" && !isLabel(x.Hostname) {
		c.fault(w, "hostname", Invalid,
			"hostname %q is no name of a host: at most 63 letters, digits and inner hyphens", clip(x.Hostname, maxName))
	}
	if n := len(x.SSHKeys); n > MaxSSHKeys {
		c.fault(w, "ssh_keys", Invalid, "ssh_keys has %d keys; it may have %d", n, MaxSSHKeys)
		return
	}
	for i, key := range x.SSHKeys {
		if !isSSHKey(key) {
			c.fault(w, indexed("ssh_keys", i), Invalid,
				`%s must be a line as in authorized_keys, such as "ssh-ed25519 AAAA... me@example"`,
				indexed("ssh_keys", i))
		}
	}
	if x.UserData == "" {
		return
	}
	switch b, err := base64.StdEncoding.DecodeString(x.UserData); {
	case err != nil:
		c.fault(w, "user_data", Invalid, "user_data must be base64: %v", err)
	case len(b) > MaxUserData:
		c.fault(w, "user_data", Invalid, "the user data have %d bytes; they may have %d", len(b), MaxUserData)
	}
}

// isSSHKey says whether a text is one line of authorized_keys, possibly with options: a key in base64 behind the name
// of its type, which the key has, too (RFC 4253, 6.6).
func isSSHKey(line string) bool {
	if len(line) > maxSSHKey || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return false
	}
	words := strings.Fields(line)
	for i := 1; i < len(words); i++ {
		b, err := base64.StdEncoding.DecodeString(words[i])
		if err != nil || len(b) < 4 {
			continue
		}
		name := binary.BigEndian.Uint32(b)
		if rest := b[4:]; uint64(name) < uint64(len(rest)) && bytes.Equal(rest[:name], []byte(words[i-1])) {
			return true
		}
	}
	return false
}
