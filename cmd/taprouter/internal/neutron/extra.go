package neutron

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// This file has the attributes that few objects have. Nothing follows from most of them: they are kept and shown.

// extraOf are the rare attributes of an object, or those of an object that has none.
func extraOf[X any](x *X) X {
	if x == nil {
		var none X
		return none
	}
	return *x
}

// changeExtra changes a copy of an object's rare attributes: the object that it was copied from shares the original.
func changeExtra[X any](at **X, fn func(x *X)) {
	x := extraOf(*at)
	fn(&x)
	*at = &x
}

// keyOf is the key in a topology file of an attribute that is named alike: a key has no colons.
func keyOf(name string) string { return strings.ReplaceAll(name, ":", "_") }

func extraText[T config.Object](name string, may access, get func(o T) string, set func(o T, v string)) attribute[T] {
	return attribute[T]{name: name, format: text, may: may, field: keyOf(name),
		get: func(_ reader, o T) any { return get(o) },
		set: func(_ *edit, o T, v any) error {
			set(o, v.(string))
			return nil
		}}
}

func extraFlag[T config.Object](name string, get func(o T) bool, set func(o T, v bool)) attribute[T] {
	return attribute[T]{name: name, format: flag, may: always | unserved, field: keyOf(name),
		get: func(_ reader, o T) any { return get(o) },
		set: func(_ *edit, o T, v any) error {
			set(o, v.(bool))
			return nil
		}}
}

// vnicTypes are the kinds of virtual cards that clients may ask for.
var vnicTypes = []string{"normal", "direct", "direct-physical", "macvtap", "baremetal", "virtio-forwarder",
	"smart-nic", "vdpa", "accelerator-direct", "accelerator-direct-physical", "remote-managed"}

// object reads an object with any parts.
var object = format{parts: true, empty: map[string]any{}, read: func(v any) (any, error) {
	if m, ok := v.(map[string]any); ok {
		return m, nil
	}
	if v == "" { // as some clients clear it
		return map[string]any{}, nil
	}
	return nil, fmt.Errorf("%s is not a dictionary", show(v))
}}

// dhcpOptions reads the options of DHCP for a port.
var dhcpOptions = listOf[record](recordOf(part{"opt_name", text}, part{"opt_value", text}, part{"ip_version", number}))

func extraPortAttributes() []attribute[*config.Port] {
	type port = *config.Port
	type extra = *config.PortExtra
	return []attribute[port]{
		extraText("binding:host_id", always|unserved, func(p port) string { return extraOf(p.Extra).HostID },
			func(p port, v string) { changeExtra(&p.Extra, func(x extra) { x.HostID = v }) }),
		{name: "binding:vnic_type", format: text, may: always, field: keyOf("binding:vnic_type"),
			get: func(_ reader, p port) any {
				if v := extraOf(p.Extra).VNICType; v != "" {
					return v
				}
				return vnicTypes[0]
			},
			set: func(e *edit, p port, v any) error {
				kind := v.(string)
				if kind == extraOf(p.Extra).VNICType {
					return nil // a file may state what is the default
				}
				if kind != "" && !slices.Contains(vnicTypes, kind) {
					return invalid("binding:vnic_type", "'%s' is none of the types of cards.", kind)
				}
				if kind == vnicTypes[0] {
					kind = ""
				}
				if kind != "" {
					e.request.keeps("binding:vnic_type")
				}
				changeExtra(&p.Extra, func(x extra) { x.VNICType = kind })
				return nil
			}},
		{name: "binding:profile", format: object, may: always | unserved, field: keyOf("binding:profile"),
			get: func(_ reader, p port) any { return profileOf(p) },
			set: func(_ *edit, p port, v any) error {
				if reflect.DeepEqual(v, profileOf(p)) {
					return nil // a file may write the same in other words
				}
				profile := ""
				if m := v.(map[string]any); len(m) > 0 {
					b, err := json.Marshal(m)
					if err != nil {
						return invalid("binding:profile", "%v.", err)
					}
					profile = string(b)
				}
				if len(profile) > config.MaxProfile {
					return invalid("binding:profile", "it has more than %d characters.", config.MaxProfile)
				}
				changeExtra(&p.Extra, func(x extra) { x.Profile = profile })
				return nil
			}},
		shown("binding:vif_type", text, func(reader, port) any { return "unbound" }),
		shown("binding:vif_details", anything, func(reader, port) any { return map[string]any{} }),
		{name: "extra_dhcp_opts", format: dhcpOptions, may: always, field: "extra_dhcp_opts",
			entries: optionTexts, get: dhcpOptionsOf, set: setDHCPOptions},
		extraText("dns_name", always, func(p port) string { return extraOf(p.Extra).DNSName },
			func(p port, v string) { changeExtra(&p.Extra, func(x extra) { x.DNSName = v }) }),
		extraText("dns_domain", always|unserved, func(p port) string { return extraOf(p.Extra).DNSDomain },
			func(p port, v string) { changeExtra(&p.Extra, func(x extra) { x.DNSDomain = v }) }),
		shown("dns_assignment", anything, dnsAssignment),
	}
}

// profileOf is a port's profile, with numbers as a body has them. A file's text that is no JSON object counts as an
// empty one.
func profileOf(p *config.Port) map[string]any {
	profile := map[string]any{}
	d := json.NewDecoder(strings.NewReader(extraOf(p.Extra).Profile))
	d.UseNumber()
	if err := d.Decode(&profile); err != nil || profile == nil {
		return map[string]any{}
	}
	return profile
}

func dhcpOptionsOf(_ reader, p *config.Port) any {
	list := []any{}
	for _, o := range extraOf(p.Extra).DHCPOptions {
		list = append(list, map[string]any{"opt_name": o.Name, "opt_value": o.Value, "ip_version": o.IPVersion})
	}
	return list
}

// setDHCPOptions changes options by name: those that are named get the value, or go if it is null. The others stay.
func setDHCPOptions(_ *edit, p *config.Port, v any) error {
	options := slices.Clone(extraOf(p.Extra).DHCPOptions)
	for _, r := range v.([]record) {
		name, err := has[string](r, "opt_name")
		if err != nil || name == "" {
			return invalid("extra_dhcp_opts", "'opt_name' is missing.")
		}
		o := config.DHCPOption{Name: name, IPVersion: 4}
		if n, ok := r["ip_version"].(int); ok {
			o.IPVersion = n
		}
		if o.IPVersion != 4 && o.IPVersion != 6 {
			return invalid("extra_dhcp_opts", "%d is not in [4, 6].", o.IPVersion)
		}
		i := slices.IndexFunc(options,
			func(x config.DHCPOption) bool { return x.Name == o.Name && x.IPVersion == o.IPVersion })
		value, given := r["opt_value"].(string)
		o.Value = value
		switch {
		case !given && i >= 0:
			options = slices.Delete(options, i, i+1)
		case !given:
		case i >= 0:
			options[i] = o
		default:
			options = append(options, o)
		}
	}
	changeExtra(&p.Extra, func(x *config.PortExtra) { x.DHCPOptions = orNone(options) })
	return nil
}

// dnsAssignment says what the names of a port's addresses are, which DNS answers to on the port's network. The port's
// own dns_domain is for a service outside, which there is none of.
func dnsAssignment(r reader, p *config.Port) any {
	list := []any{}
	name := extraOf(p.Extra).DNSName
	if name == "" {
		return list
	}
	domain := config.DefaultDNSDomain
	if n := r.Network(p.Network); n != nil && extraOf(n.Extra).DNSDomain != "" {
		domain = strings.TrimSuffix(extraOf(n.Extra).DNSDomain, ".")
	}
	for _, f := range p.FixedIPs {
		list = append(list, map[string]any{"ip_address": f.Address.String(), "hostname": name,
			"fqdn": name + "." + domain + "."})
	}
	return list
}
