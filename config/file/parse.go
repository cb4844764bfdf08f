package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/BurntSushi/toml"
)

// Load parses the file at path. An error is [Faults], or says why the file
// could not be read.
func Load(path string) (*Topology, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	return Parse(path, f)
}

// Parse reads a topology file to its end and validates it. The name stands for
// the file in messages; it may be empty. An error is [Faults], unless reading
// itself failed; then there is no topology.
//
// Parse takes at most 16 MB, 16 tables and lists inside each other, 256 bytes of a
// key's path and 1048576 keys, tables and list elements; more of any is a fault. So are more interfaces
// of a router than 65533, and what few lines multiply beyond the bounds: 262144 devices of physical networks,
// counted for each network, as many subnets, counted for each router, and 1048576 members, for each VIP.
// Of a file with more than 1000 faults, overlaps beyond those count once for each subnet.
func Parse(name string, r io.Reader) (*Topology, error) {
	text, err := readText(name, r)
	if err != nil {
		return nil, err
	}
	doc := withoutMark(text)
	if line, excess := checkBounds(doc); excess != "" {
		return nil, Faults{{File: name, Line: line, Message: excess}}
	}
	var raw map[string]any
	if _, err := toml.Decode(doc, &raw); err != nil {
		return nil, Faults{syntaxFault(name, doc, err)}
	}
	t := &Topology{File: name, lines: indexLines(doc)}
	rep := newReport(t)
	rep.first = true
	topologyKeys.decode(rep.root(), raw, t)
	t.inheritClamp(rep)
	newChecker(t, rep).run()
	if err := rep.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// Validate fills in every default that is not set yet and checks everything,
// as Parse does for a file. An error is [Faults]; the topology is then partly
// filled in. A valid topology may be validated again, which changes nothing.
//
// Validate writes to the topology, so callers see to it that nobody else uses
// it meanwhile.
func (t *Topology) Validate() error {
	rep := newReport(t)
	newChecker(t, rep).run()
	return rep.err()
}

func newReport(t *Topology) *report {
	return &report{
		file: t.File, lines: t.lines, schema: topologyKeys,
		bad: map[string]bool{}, within: map[string]bool{}, single: map[string]bool{},
	}
}

// syntaxFault finds the line of what the toml module did not understand. Its
// own line is one too high where the text ends early; its offset is right.
func syntaxFault(name, doc string, err error) Fault {
	f := Fault{File: name, Line: 1, Message: err.Error()}
	if pe, ok := errors.AsType[toml.ParseError](err); ok {
		f.Line = 1 + strings.Count(doc[:max(0, min(pe.Position.Start, len(doc)))], "\n")
		f.Message = strings.TrimSuffix(pe.Message, ".")
	}
	return f
}

// inheritClamp gives a router's own nat table the global mss_clamp where it
// does not say. Other settings show by being zero that they are not set.
func (t *Topology) inheritClamp(rep *report) {
	for i := range t.Routers {
		own := t.Routers[i].NAT
		if own == nil {
			continue
		}
		if _, given := rep.lines[joinPath(indexKey("router", i), "nat.mss_clamp")]; !given {
			own.MSSClamp = t.NAT.MSSClamp
		}
	}
}
