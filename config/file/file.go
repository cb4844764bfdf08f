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
	text      string
	topology  *Topology
	instances []Instance // as the file has them, nothing is filled in
	declared  *declarations
	state     *config.State
	report    *report
}

// Name is the name that was given to Read. It stands for the file in messages, and in the Source of its objects.
func (f *File) Name() string { return f.name }

// Text is what was read.
func (f *File) Text() string { return f.text }

// State returns the State that the file makes alone.
func (f *File) State() *config.State { return f.state }

// Topology returns the file's tables, filled in as State fills them in. The caller may not change it.
func (f *File) Topology() *Topology { return f.topology }

// Warnings returns faults that are allowed but unwise, sorted by line.
func (f *File) Warnings() Faults { return f.topology.Warnings }

// Over says how a file is put over the objects of a Draft.
type Over struct {
	Previous *File // the file that was put there last; nil: none, or it is unknown
	Cascade  bool  // delete also what programs have made and what depends on objects that the file no longer has
}

// Edit puts the file's objects into a Draft. The file owns what it states, and programs own the rest:
//   - An attribute that the file states gets the file's value. One that the previous file stated, and this one does
//     not, goes back to its default. Any other one stays as it is.
//   - In a list, such as routes, the previous file's entries are replaced by this file's. Others stay.
//   - Objects of the previous file that this one does not have are taken away. Objects that programs have made stay,
//     unless the file has one with the same ID: then the object is the file's.
//   - A choice that was made for an object, such as an address or a router, stays.
//
// The notices say which values and objects of programs are the file's now. An error is [config.Faults]: programs have
// made objects that depend on ones that are to go, or that have a name that is to be an object's of the file.
//
// The Draft's messages call the file's objects as the file's own messages do. Give the faults of Check to Faults.
func (f *File) Edit(d *config.Draft, over Over) ([]Notice, error) {
	return f.declared.edit(d, f.state, f.report, over)
}

// Declares says whether the file has an object.
func (f *File) Declares(r config.Ref) bool { return f.declared.by[r] != nil }

// An Entry is one entry of a list that a file states.
type Entry struct {
	// Text is the entry as config.Line has it: an address, 10.9.0.0/16 via 10.1.0.9, 10.1.0.9/32 02:00:00:00:00:09. A
	// security group is its ID, and an option of DHCP mtu=1400 (IPv4).
	Text   string
	Source config.Source
}

// Entries lists the entries of a list that the file states: routes, host_routes, dns_nameservers,
// allowed_address_pairs, fixed_ips, allowed_cidrs, security_groups, extra_dhcp_opts, addresses and tags. Programs may
// have further ones in the same list.
func (f *File) Entries(r config.Ref, field string) []Entry {
	t := f.declared.by[r]
	if t == nil || !t.states(field) {
		return nil
	}
	var list []Entry
	for i, text := range entryTexts(t.object, field) {
		line, ok := t.line(indexKey(field, i))
		if !ok {
			line, _ = t.line(field)
		}
		list = append(list, Entry{text, config.Source{File: f.name, Line: line}})
	}
	return list
}

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
	if !t.states(field) {
		return config.Source{}, false
	}
	line, _ := t.line(field)
	return config.Source{File: f.name, Line: line}, true
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
