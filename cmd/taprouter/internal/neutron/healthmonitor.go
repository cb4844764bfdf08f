package neutron

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
)

var monitors = resource[*config.Monitor]{
	singular: "healthmonitor", plural: "healthmonitors", title: "Health Monitor", linked: true,
	attributes: monitorAttributes,
	all:        func(s *config.State) iter.Seq[*config.Monitor] { return s.Monitors() },
	get: func(r reader, id config.ID) (*config.Monitor, bool) {
		m := r.Monitor(id)
		return m, m != nil
	},
	fresh:  func(m config.Meta) *config.Monitor { return &config.Monitor{Meta: m, AdminStateUp: true} },
	copied: copied[config.Monitor],
	create: func(e *edit, m *config.Monitor, _ map[string]any) error {
		switch {
		case m.Pool == "":
			return malformed("Invalid input for field/attribute pool_id. Mandatory field missing.")
		case e.Pool(m.Pool) == nil:
			return notFound("Pool", m.Pool)
		case e.MonitorOf(m.Pool) != nil:
			return conflict("Conflict", "This pool already has a health monitor")
		}
		e.Put(m)
		return nil
	},
	update: func(e *edit, _, m *config.Monitor, _ map[string]any) error {
		e.Put(m)
		return nil
	},
	remove: func(e *edit, m *config.Monitor) error {
		e.Delete(m.Ref())
		return nil
	},
	filters: map[string]func(r reader, values []string) (func(m *config.Monitor) bool, error){
		"pool_id": func(_ reader, values []string) (func(m *config.Monitor) bool, error) {
			return func(m *config.Monitor) bool { return slices.Contains(values, string(m.Pool)) }, nil
		},
	},
}

// version reads a version of HTTP: a number, which some clients send as a string.
var version = format{read: func(v any) (any, error) {
	s := ""
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = v
	}
	switch s {
	case "1", "1.0":
		return "1.0", nil
	case "1.1":
		return s, nil
	}
	return nil, fmt.Errorf("%s is not a version of HTTP: 1.0 or 1.1", show(v))
}}

var monitorTypes = []string{"HTTP", "HTTPS", "TCP", "PING", "TLS-HELLO", "UDP-CONNECT"}

func monitorAttributes(project string) []attribute[*config.Monitor] {
	type monitor = *config.Monitor
	const usualRetries = 3
	seconds := func(name string, at func(m monitor) *time.Duration) attribute[monitor] {
		return attribute[monitor]{name: name, format: number, may: always | required, field: name,
			get: func(_ reader, m monitor) any { return int(*at(m) / time.Second) },
			set: func(_ *edit, m monitor, v any) error {
				if v.(int) < 1 {
					return invalid(name, "%v is less than 1.", v)
				}
				*at(m) = time.Duration(v.(int)) * time.Second
				return nil
			}}
	}
	retries := func(name string, f format, may access, at func(m monitor) *int) attribute[monitor] {
		return attribute[monitor]{name: name, format: f, may: may, field: name,
			get: func(_ reader, m monitor) any { return *at(m) },
			set: func(_ *edit, m monitor, v any) error {
				if *at(m) = v.(int); *at(m) < 1 || *at(m) > config.MaxRetries {
					return invalid(name, "%v is not from 1 to %d.", v, config.MaxRetries)
				}
				return nil
			}}
	}
	// web is what only HTTP and HTTPS have.
	web := func(name string, at func(m monitor) *string) attribute[monitor] {
		return attribute[monitor]{name: name, format: text, may: always, field: name,
			get: func(_ reader, m monitor) any {
				if *at(m) == "" {
					return nil
				}
				return *at(m)
			},
			set: func(_ *edit, m monitor, v any) error {
				*at(m) = v.(string)
				return nil
			}}
	}
	return append(balanced[monitor](project, func(m monitor) *bool { return &m.AdminStateUp },
		func(r reader, m monitor) any { return monitorStatus(r, m) }),
		attribute[monitor]{name: "pool_id", format: identifier, may: onCreate | hidden,
			set: func(_ *edit, m monitor, v any) error { return parent("pool_id", &m.Pool, v) }},
		shown("pools", anything, func(r reader, m monitor) any {
			if p := r.Pool(m.Pool); p != nil {
				return idList(p)
			}
			return []any{}
		}),
		attribute[monitor]{name: "type", format: text, may: onCreate | required,
			get: func(_ reader, m monitor) any { return m.Type },
			set: func(_ *edit, m monitor, v any) error {
				if m.Type = v.(string); !slices.Contains(monitorTypes, m.Type) {
					return invalid("type", "'%v' is not in ['%s'].", v, strings.Join(monitorTypes, "', '"))
				}
				return nil
			}},
		seconds("delay", func(m monitor) *time.Duration { return &m.Delay }),
		seconds("timeout", func(m monitor) *time.Duration { return &m.Timeout }),
		retries("max_retries", number, always|required, func(m monitor) *int { return &m.MaxRetries }),
		retries("max_retries_down", number.or(usualRetries), always,
			func(m monitor) *int { return &m.MaxRetriesDown }),
		web("http_method", func(m monitor) *string { return &m.HTTPMethod }),
		web("url_path", func(m monitor) *string { return &m.URLPath }),
		web("expected_codes", func(m monitor) *string { return &m.ExpectedCodes }),
		attribute[monitor]{name: "http_version", format: version, may: always | mayBeNull, field: "http_version",
			get: func(_ reader, m monitor) any {
				if m.HTTPVersion == "" {
					return nil
				}
				return json.Number(m.HTTPVersion)
			},
			set: func(_ *edit, m monitor, v any) error {
				m.HTTPVersion, _ = v.(string) // null is none
				return nil
			}},
		web("domain_name", func(m monitor) *string { return &m.DomainName }),
	)
}
