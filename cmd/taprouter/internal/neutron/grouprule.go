package neutron

import (
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// groupRules never change: clients delete them and make others.
var groupRules = resource[*config.SecurityGroupRule]{
	singular: "security_group_rule", plural: "security_group_rules", path: "security-group-rules",
	title: "Security Group Rule", fixed: true,
	attributes: ruleAttributes,
	all: func(s *config.State) iter.Seq[*config.SecurityGroupRule] {
		return func(yield func(*config.SecurityGroupRule) bool) {
			if s.SecurityGroup(defaultGroupID) == nil {
				for _, r := range defaultRules() {
					if !yield(r) {
						return
					}
				}
			}
			for r := range s.SecurityGroupRules() {
				if !yield(r) {
					return
				}
			}
		}
	},
	get: func(r reader, id config.ID) (*config.SecurityGroupRule, bool) {
		if o := r.SecurityGroupRule(id); o != nil {
			return o, true
		}
		list := slices.Collect(rulesOf(r, defaultGroupID))
		i := slices.IndexFunc(list, func(o *config.SecurityGroupRule) bool { return o.ID == id })
		if i < 0 {
			return nil, false
		}
		return list[i], true
	},
	prepare: prepareDefault,
	fresh:   func(m config.Meta) *config.SecurityGroupRule { return &config.SecurityGroupRule{Meta: m} },
	copied:  copied[config.SecurityGroupRule],
	create:  createRule,
	remove: func(e *edit, r *config.SecurityGroupRule) error {
		e.Delete(r.Ref())
		return nil
	},
}

// ruleProtocol reads a protocol: a name, a number, or any for none.
var ruleProtocol = format{filter: strings.ToLower, read: func(v any) (any, error) {
	if n, err := number.read(v); err == nil {
		return fmt.Sprint(n), nil
	}
	s, err := text.read(v)
	if err != nil {
		return nil, err
	}
	if s = strings.ToLower(s.(string)); s == "any" {
		s = ""
	}
	return s, nil
}}

// remotePrefix reads a prefix, or an address, which stands for itself alone. Host bits stay as they are.
var remotePrefix = format{read: func(v any) (any, error) {
	if a, err := address.read(v); err == nil {
		return netip.PrefixFrom(a.(netip.Addr), a.(netip.Addr).BitLen()), nil
	}
	return prefix.read(v)
}}

func ruleAttributes(project string) []attribute[*config.SecurityGroupRule] {
	type rule = *config.SecurityGroupRule
	word := func(name string, may access, typ, message string, words []string,
		at func(r rule) *string) attribute[rule] {
		return attribute[rule]{name: name, format: text, may: may,
			get: func(_ reader, r rule) any { return *at(r) },
			set: func(_ *edit, r rule, v any) error {
				i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, v.(string)) })
				if i < 0 {
					return failure(http.StatusBadRequest, typ, message, v, strings.Join(words, "', '"))
				}
				*at(r) = words[i]
				return nil
			}}
	}
	return append(common[rule](project),
		field("security_group_id", identifier, onCreate|required, "", func(r rule) *config.ID { return &r.Group }),
		word("direction", onCreate|required, "HTTPBadRequest",
			"Invalid input for direction. Reason: '%s' is not in ['%s'].", []string{config.Ingress, config.Egress},
			func(r rule) *string { return &r.Direction }),
		word("ethertype", onCreate, "SecurityGroupRuleInvalidEtherType",
			"Security group rule for ethertype '%s' not supported. Allowed values are ['%s'].",
			[]string{config.IPv4, config.IPv6}, func(r rule) *string { return &r.EtherType }),
		attribute[rule]{name: "protocol", format: ruleProtocol, may: onCreate,
			get: func(_ reader, r rule) any { return textOrNull(r.Protocol) },
			set: func(_ *edit, r rule, v any) error {
				r.Protocol = v.(string)
				return nil
			}},
		rulePort("port_range_min", func(r rule) **uint16 { return &r.PortMin }),
		rulePort("port_range_max", func(r rule) **uint16 { return &r.PortMax }),
		attribute[rule]{name: "remote_ip_prefix", format: remotePrefix, may: onCreate,
			get: func(_ reader, r rule) any { return prefixText(r.RemotePrefix) },
			set: func(_ *edit, r rule, v any) error {
				r.RemotePrefix = v.(netip.Prefix)
				return nil
			}},
		shown("normalized_cidr", prefix, func(_ reader, r rule) any { return prefixText(r.RemotePrefix.Masked()) }),
		field("remote_group_id", identifier, onCreate, "", func(r rule) *config.ID { return &r.RemoteGroup }),
		field("remote_address_group_id", identifier, onCreate, "",
			func(r rule) *config.ID { return &r.RemoteAddressGroup }),
		shown("belongs_to_default_sg", flag, func(_ reader, r rule) any { return r.Group == defaultGroupID }),
	)
}

func rulePort(name string, at func(r *config.SecurityGroupRule) **uint16) attribute[*config.SecurityGroupRule] {
	return attribute[*config.SecurityGroupRule]{name: name, format: number, may: onCreate,
		get: func(_ reader, r *config.SecurityGroupRule) any {
			if p := *at(r); p != nil {
				return int(*p)
			}
			return nil
		},
		set: func(_ *edit, r *config.SecurityGroupRule, v any) error {
			if n := v.(int); n < 0 || n > 65535 {
				return failure(http.StatusBadRequest, "SecurityGroupInvalidPortValue", "Invalid value for port %d", n)
			}
			*at(r) = new(uint16(v.(int)))
			return nil
		}}
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func prefixText(p netip.Prefix) any {
	if !p.IsValid() {
		return nil
	}
	return p.String()
}

func createRule(e *edit, r *config.SecurityGroupRule, _ map[string]any) error {
	for _, id := range []config.ID{r.Group, r.RemoteGroup} {
		if id == defaultGroupID {
			needDefault(e)
		}
		if id != "" && e.SecurityGroup(id) == nil {
			return failure(http.StatusNotFound, "SecurityGroupNotFound", "Security group %s does not exist", id)
		}
	}
	if id := r.RemoteAddressGroup; id != "" && e.AddressGroup(id) == nil {
		return notFound("Address Group", id)
	}
	e.Put(r)
	r = e.SecurityGroupRule(r.ID) // as the State writes it
	if p, message := r.Problem(); p != config.RuleFine {
		return ruleRefusal(r, p, message)
	}
	like := e.RuleLike(r)
	switch {
	case like == nil:
		return nil
	case e.Base().SecurityGroupRule(like.ID) == nil && like.Source.Request == e.request.id &&
		like.Group != defaultGroupID:
		return conflict("DuplicateSecurityGroupRuleInPost", "Duplicate Security Group Rule in POST.")
	}
	return conflict("SecurityGroupRuleExists", "Security group rule already exists. Rule id is %s.", like.ID)
}

// ruleRefusal says what is wrong with a rule in Neutron's words.
func ruleRefusal(r *config.SecurityGroupRule, p config.RuleProblem, message string) error {
	typ := "InvalidInput"
	switch p {
	case config.RuleProtocolUnknown:
		typ, message = "SecurityGroupRuleInvalidProtocol", fmt.Sprintf("Security group rule protocol %s not "+
			"supported. Only names of protocols and integer representations [0 to 255] are supported.", r.Protocol)
	case config.RuleFamily:
		typ, message = "SecurityGroupEthertypeConflictWithProtocol", fmt.Sprintf(
			"Invalid ethertype %s for protocol %s.", r.EtherType, r.Protocol)
	case config.RulePrefixFamily:
		typ, message = "SecurityGroupRuleParameterConflict", fmt.Sprintf("Conflicting value ethertype %s for CIDR %v",
			r.EtherType, r.RemotePrefix)
	case config.RuleRemotes:
		typ, message = "SecurityGroupMultipleRemoteEntites",
			"Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided."
	case config.RuleNoProtocol:
		typ, message = "SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given."
	case config.RulePortless:
		typ, message = "SecurityGroupInvalidProtocolForPort", fmt.Sprintf("Invalid protocol %s for port range, only "+
			"supported for TCP, UDP, UDPLITE, SCTP and DCCP.", r.Protocol)
	case config.RulePortValue:
		typ, message = "SecurityGroupInvalidPortValue", "Invalid value for port 0"
	case config.RulePortRange:
		typ, message = "SecurityGroupInvalidPortRange",
			"For TCP/UDP protocols, port_range_min must be <= port_range_max"
	case config.RuleICMPType:
		typ, message = "SecurityGroupMissingIcmpType",
			"ICMP code (port-range-max) is provided but ICMP type (port-range-min) is missing."
	case config.RuleICMPValue:
		typ, message = "SecurityGroupInvalidIcmpValue", "Invalid value for ICMP type or code. It must be 0 to 255."
	}
	return failure(http.StatusBadRequest, typ, "%s", message)
}
