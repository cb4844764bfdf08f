package file

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// A File is a topology file that is valid by itself: objects for a State, and a lesson. It never changes, and any
// number of goroutines may use it.
type File struct {
	name      string
	topology  *Topology
	instances []Instance // as the file has them, nothing is filled in
	declared  *declarations
	state     *config.State
	report    *report
}

// Name is the name that was given to Read. It stands for the file in messages, and in the Source of its objects.
func (f *File) Name() string { return f.name }

// State returns the State that the file makes alone.
func (f *File) State() *config.State { return f.state }

// Topology returns the file's tables, filled in as State fills them in. The caller may not change it.
func (f *File) Topology() *Topology { return f.topology }

// Warnings returns faults that are allowed but unwise, sorted by line.
func (f *File) Warnings() Faults { return f.topology.Warnings }

// Edit puts the file's objects into a Draft. It takes away objects that a file has declared before and this file does
// not. A choice that was made for an object, such as an address or a router, stays. Objects that programs have made
// stay, and so do an object's description and tags.
//
// The Draft's messages call the file's objects as the file's own messages do. Give the faults of Check to Faults.
func (f *File) Edit(d *config.Draft) { f.declared.edit(d) }

// Faults gives the faults that Draft.Check has found their lines in the file. The second result has the warnings. Both
// are sorted by line. An object that the file does not declare has no line.
func (f *File) Faults(found config.Faults) (faults, warnings Faults) {
	rep := f.report.blank()
	f.declared.place(found, rep)
	return bounded(rep.faults, rep.found, "faults"), bounded(rep.warnings, rep.warned, "warnings")
}

// Source says where the file states an attribute of an object. Field is as in [config.Fault], such as "fixed_ips" or
// "gateway.snat". If it is empty, it is the object itself. The result is false if the file does not state the
// attribute.
func (f *File) Source(r config.Ref, field string) (config.Source, bool) {
	t := f.declared.by[r]
	if t == nil {
		return config.Source{}, false
	}
	if field == "" {
		return t.object.About().Source, true
	}
	line, ok := f.report.lineAt(joinPath(t.at.path, t.keyOf(field)))
	return config.Source{File: f.name, Line: line}, ok
}

// A Lesson is what a file has besides objects: hosts and what they do.
type Lesson struct {
	File      string
	Instances []Instance // with their addresses and gateways
	Steps     []Step
	Networks  map[string]config.ID // of the file, by name

	topology *Topology
}

// LineOf returns the line of a key in the lesson's file, as Topology.LineOf does.
func (l *Lesson) LineOf(path string) int { return l.topology.LineOf(path) }

// Lesson returns the file's lesson. Addresses and gateways that its instances leave open are taken from a State that
// was made with the file.
func (f *File) Lesson(s *config.State) *Lesson {
	t := f.topology
	l := &Lesson{
		File: f.name, Instances: slices.Clone(f.instances), Steps: t.Steps, Networks: map[string]config.ID{},
		topology: t,
	}
	for i := range t.Networks {
		l.Networks[t.Networks[i].Name] = t.Networks[i].ID
	}
	ports := t.portIDs()
	for i := range l.Instances {
		h := &l.Instances[i]
		h.fill(s, s.Port(cmp.Or(ports[portKey{h.Network, h.Name}], h.ID)), l.Networks[h.Network])
	}
	return l
}

// fill gives an instance what it leaves open. An instance that plays the gateway of its subnet has no gateway.
func (h *Instance) fill(s content, port *config.Port, network config.ID) {
	if port != nil && h.MAC.IsZero() {
		h.MAC = port.MAC
	}
	if port != nil && len(port.FixedIPs) > 0 && !h.Address.IsValid() {
		h.Address = port.FixedIPs[0].Address
	}
	sub := s.SubnetAt(network, h.Address)
	if sub == nil {
		return
	}
	h.Prefix = netip.PrefixFrom(h.Address, sub.CIDR.Bits())
	if !h.Gateway.IsValid() && sub.Gateway != h.Address {
		h.Gateway = sub.Gateway
	}
}
