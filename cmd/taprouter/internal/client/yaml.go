package client

import (
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// yamlWidth is where Python's yaml module breaks lines.
const yamlWidth = 80

// printYAML prints a value as Python's yaml module does: keys below the top in order, strings that another reader could
// take for something else in single quotes.
func printYAML(w io.Writer, v any) error {
	d, err := yaml.NewDumper(w, yaml.WithIndent(2), yaml.WithCompactSeqIndent(true), yaml.WithLineWidth(yamlWidth),
		yaml.WithUnicode(false), yaml.WithQuotePreference(yaml.QuoteSingle))
	if err != nil {
		return err
	}
	var n *yaml.Node
	if o, ok := v.(*object); ok {
		n = yamlMapping(o)
	} else {
		n = yamlNode(v)
	}
	if err := d.Dump(n); err != nil {
		return err
	}
	return d.Close()
}

func yamlNode(v any) *yaml.Node {
	switch v := v.(type) {
	case *object:
		return yamlMapping(v.sorted())
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if len(v) == 0 {
			n.Style = yaml.FlowStyle
		}
		for _, e := range v {
			n.Content = append(n.Content, yamlNode(e))
		}
		return n
	case string:
		return yamlString(v)
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strings.ToLower(pythonText(v))}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: pythonText(v)}
}

func yamlMapping(o *object) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	if len(o.keys) == 0 {
		n.Style = yaml.FlowStyle
	}
	for _, k := range o.keys {
		n.Content = append(n.Content, yamlString(k), yamlNode(o.values[k]))
	}
	return n
}

// other is what YAML 1.1, as Python reads it, takes for something else than a string.
var other = regexp.MustCompile(`^(|~|null|Null|NULL|<<|=|` +
	`yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF|` +
	`[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+|` +
	`[-+]?([0-9][0-9_]*)\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?|` +
	`[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)|` +
	`\d\d\d\d-\d\d-\d\d|\d\d\d\d-\d\d?-\d\d?([Tt]|[ \t]+)\d\d?:\d\d:\d\d(\.\d*)?([ \t]*(Z|[-+]\d\d?(:\d\d)?))?)$`)

func yamlString(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case other.MatchString(s), strings.Contains(s, "\n"):
		n.Style = yaml.SingleQuotedStyle
	}
	return n
}
