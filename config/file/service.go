package file

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/taprouter/taprouter/config"
)

// This file reads and writes what the local services of networks tell hosts, and where they ask in turn.

// userDataFile is the key of a port that names the file with its user data.
const userDataFile = "user_data_file"

// A reader reads a file that a topology file names, and returns it in base64.
type reader func(path string) (string, error)

// readsFrom reads user data. A relative path begins at a directory. A file that several ports name is read once, and is
// the same for all of them.
func readsFrom(dir string) reader {
	known := map[string]string{}
	return func(path string) (string, error) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if text, ok := known[path]; ok {
			return text, nil
		}
		b, err := readUserData(path)
		if err != nil {
			return "", err
		}
		known[path] = base64.StdEncoding.EncodeToString(b)
		return known[path], nil
	}
}

// readUserData reads a file with user data. Others than regular files might never end, or wait for a writer.
func readUserData(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, config.MaxUserData+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) == 0:
		return nil, fmt.Errorf("%s is empty", path)
	case len(b) > config.MaxUserData:
		return nil, fmt.Errorf("%s has more than the %d bytes that user data may have", path, config.MaxUserData)
	}
	return b, nil
}

// userDataFile reads the file that a port names.
func (v value) userDataFile() string {
	path := v.text()
	switch {
	case v.at.spoiled(v.key):
		return ""
	case path == "":
		v.fault("%s is empty; leave it out for no user data", v.key)
		return ""
	case v.at.r.beside == nil:
		v.fault("%s names a file beside the topology file, and this text came from elsewhere; "+
			"write its content as user_data, in base64", v.key)
		return ""
	}
	text, err := v.at.r.beside(path)
	if err != nil {
		v.fault("%s: %v", v.key, err)
	}
	return text
}

// secret reads a text that no message shows.
func (v value) secret() string {
	s, ok := v.raw.(string)
	if !ok {
		v.fault("%s must be a string", v.key)
	}
	return s
}

// checkForwards checks the values of [dns] and [metadata] that config would take for left out.
func (c *checker) checkForwards() {
	s := c.root.child("dns", c.DNS.Line)
	s.notEmpty("via", c.DNS.Via)
	s = c.root.child("metadata", c.Metadata.Line)
	s.notEmpty("via", c.Metadata.Via)
	s.notEmpty("forward", c.Metadata.Forward)
	s.notEmpty("secret", c.Metadata.Secret)
}

// checkUserData checks what config would take for left out of what a port's instance is told.
func (c *checker) checkUserData(s scope, p *Port) {
	s.notEmpty("hostname", p.Extra.Hostname)
	if s.given("user_data") && s.given(userDataFile) {
		s.fault("user_data", "user_data is instead of %s; leave one of them out", userDataFile)
		return
	}
	s.notEmpty("user_data", p.Extra.UserData)
}

// forwards writes the settings of local services.
func (x *exporter) forwards(s *config.Settings) {
	if d := s.DNS; len(d.Forward) > 0 || d.Via != config.ViaRouter {
		x.header("[dns]")
		listing(&x.writing, "forward", d.Forward, netip.AddrPort.String)
		x.str("via", d.Via)
	}
	if m := s.Metadata; m.Forward != "" || m.Secret != "" || m.Via != config.ViaRouter {
		x.header("[metadata]")
		x.str("forward", m.Forward)
		x.str("secret", m.Secret)
		x.str("via", m.Via)
	}
}

// userDataText tells of user data without showing them.
func userDataText(text string) string {
	return fmt.Sprintf("%d bytes", base64.StdEncoding.DecodedLen(len(text)))
}
