package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/taprouter/taprouter/config"
)

// This file is how an object of package config becomes a key and a value. A value is one line of text, so that etcd's
// tools show it: the schema version, the CRC32C of what follows it, and the object as JSON. The names in the JSON are
// those of the Go fields; testdata/v1.json holds them.

// Root is the prefix of all keys of taprouter.
const Root = "/taprouter/v1/"

// schema is the version of the values. It gets higher when an older value means something else, or cannot be read. A
// field that is added does not: an older value is read without it, and an older program refuses a newer value because
// it does not know the field.
const schema = 1

// Errors about values that callers tell apart.
var (
	ErrBrokenValue = errors.New("the value is broken")
	ErrNewerValue  = errors.New("the value was written by a newer version of taprouter")
)

// kindKeys are the words for the kinds in keys.
var kindKeys = [config.NumKinds]string{
	"settings", "physical_network", "network", "subnet", "router", "address_group", "security_group",
	"security_group_rule", "port", "floating_ip", "port_forwarding", "pool", "monitor", "member", "load_balancer",
	"listener", "quota",
}

// otherKeys are what else may stand there: it is not of package config.
var otherKeys = []string{"overlay", "meta", "lease", "alloc"}

// keyOf is the key of an object.
func keyOf(r config.Ref) string { return Root + kindKeys[r.Kind] + "/" + string(r.ID) }

// parseKey finds the object that a key is of. It is no object's if ok is false.
func parseKey(key string) (r config.Ref, ok bool, err error) {
	word, id, _ := strings.Cut(strings.TrimPrefix(key, Root), "/")
	for _, w := range otherKeys {
		if word == w {
			return r, false, nil
		}
	}
	for k, w := range kindKeys {
		if word == w && id != "" {
			return config.Ref{Kind: config.Kind(k), ID: config.ID(id)}, true, nil
		}
	}
	return r, false, fmt.Errorf("store: key %q: %w: it is of no kind that this version knows", key, ErrNewerValue)
}

// newObject makes an empty object of a kind.
func newObject(k config.Kind) config.Object {
	return [config.NumKinds]config.Object{
		new(config.Settings), new(config.PhysicalNetwork), new(config.Network), new(config.Subnet),
		new(config.Router), new(config.AddressGroup), new(config.SecurityGroup), new(config.SecurityGroupRule),
		new(config.Port), new(config.FloatingIP), new(config.PortForwarding), new(config.Pool), new(config.Monitor),
		new(config.Member), new(config.LoadBalancer), new(config.Listener), new(config.Quota),
	}[k]
}

// encode writes the value of an object.
func encode(o config.Object) ([]byte, error) {
	key := keyOf(o.Ref())
	if field := notText(reflect.ValueOf(o).Elem()); field != "" {
		return nil, fmt.Errorf("store: key %q: %s is not UTF-8, so it cannot be stored", key, field)
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("store: key %q: %w", key, err)
	}
	return seal(schema, text), nil
}

// seal puts version and checksum before a text.
func seal(version int, text []byte) []byte {
	return fmt.Appendf(nil, "%d %08x %s", version, crc32.Checksum(text, castagnoli), text)
}

// unseal checks a value and returns its text.
func unseal(value []byte) ([]byte, error) {
	version, rest, found := bytes.Cut(value, []byte(" "))
	n, err := strconv.ParseUint(string(version), 10, 31)
	switch {
	case !found || err != nil:
		return nil, fmt.Errorf("%w: it has no version", ErrBrokenValue)
	case n > schema:
		return nil, fmt.Errorf("%w: it has version %d, not %d", ErrNewerValue, n, schema)
	case n != schema || len(rest) < 9 || rest[8] != ' ':
		return nil, fmt.Errorf("%w: it has no version or no checksum", ErrBrokenValue)
	}
	text := rest[9:]
	if got := fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)); got != string(rest[:8]) {
		return nil, fmt.Errorf("%w: it has checksum %s, not %s", ErrBrokenValue, got, rest[:8])
	}
	return text, nil
}

// decode reads the value of the key of an object. An error names the key.
func decode(r config.Ref, value []byte) (config.Object, error) {
	text, err := unseal(value)
	if err != nil {
		return nil, fmt.Errorf("store: key %q: %w", keyOf(r), err)
	}
	o := newObject(r.Kind)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // nothing is dropped silently
	err = d.Decode(o)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else {
			err = errors.New("something follows the object")
		}
	}
	switch {
	case err != nil && strings.Contains(err.Error(), "unknown field"):
		return nil, fmt.Errorf("store: key %q: %w: %w", keyOf(r), ErrNewerValue, err)
	case err != nil:
		return nil, fmt.Errorf("store: key %q: %w: %w", keyOf(r), ErrBrokenValue, err)
	case o.Ref() != r:
		return nil, fmt.Errorf("store: key %q: %w: it is that of %s", keyOf(r), ErrBrokenValue, keyOf(o.Ref()))
	}
	return o, nil
}

// notText finds a field with a text that JSON has no way to write.
func notText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return strconv.Quote(v.String())
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return notText(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			if found := notText(v.Index(i)); found != "" {
				return found
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				if found := notText(v.Field(i)); found != "" {
					return found
				}
			}
		}
	}
	return ""
}
