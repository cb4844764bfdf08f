package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Line says in words what has become of one object from one State to another. Plans print it, the log of a reload
// has it as attributes, and an API as JSON.
type Line struct {
	Op         Op          `json:"op"`
	Kind       Kind        `json:"kind"`
	ID         ID          `json:"id"`
	Name       string      `json:"name"`                 // as people call it, with its kind: network "vlan102"
	Attributes []Attribute `json:"attributes,omitempty"` // of a new object, only attributes that may have been chosen
	Former     *Former     `json:"former,omitempty"`     // of a new object that looks like a renamed one
	Effects    []Effect    `json:"effects,omitempty"`    // for connections of a router that runs
	Source     Source      `json:"source,omitzero"`      // of the object as it is now
}

// An Attribute is one that differs. Its Name is the one in the topology file. Of a list Added and Removed say what has
// come and gone; Before and After are the whole list where only the order differs.
type Attribute struct {
	Name        string   `json:"name"`
	Before      string   `json:"before,omitempty"` // empty for a new object
	After       string   `json:"after,omitempty"`
	Added       []string `json:"added,omitempty"`
	Removed     []string `json:"removed,omitempty"`
	AtNextStart bool     `json:"at_next_start,omitempty"` // a running process goes on with what it has
}

// A Former is an object that is gone, and whose place a new one takes that differs in its name only.
type Former struct {
	ID   ID     `json:"id"`
	Name string `json:"name"`
}

// Describe says in words what changes, one Line for each change, in the order of the changes. The changes are
// all or some of the changes that Diff finds from one State to the other. Settings that are put for the first time and
// are the default ones change nothing.
func Describe(from, to *State, changes []Change) []Line {
	former := renamed(from, to, changes)
	lines := make([]Line, 0, len(changes))
	for _, c := range changes {
		c, ok := c.ofSettings(from, to)
		if !ok {
			continue
		}
		l := Line{Op: c.Op, Kind: c.Ref.Kind, ID: c.Ref.ID, Effects: Effects(from, to, c)}
		switch c.Op {
		case Added:
			l.Name, l.Source = to.call(c.After), c.After.About().Source
			l.Attributes = chosen(to.values(c.After))
			l.Former = former[c.Ref]
		case Changed:
			l.Name, l.Source = to.call(c.After), c.After.About().Source
			l.Attributes = compare(from.values(c.Before), to.values(c.After))
		case Removed:
			l.Name = from.call(c.Before)
		}
		lines = append(lines, l)
	}
	return lines
}

// ofSettings is a change of Settings that come or go, as a change from or to the default Settings. It reports false if
// these are equal.
func (c Change) ofSettings(from, to *State) (Change, bool) {
	if c.Ref.Kind == KindSettings && c.Op != Changed {
		c = Change{Changed, c.Ref, from.Settings(), to.Settings()}
		return c, len(compare(from.values(c.Before), to.values(c.After))) > 0
	}
	return c, true
}

// chosen lists the attributes of a new object that its maker may have left open.
func chosen(values []value) []Attribute {
	var list []Attribute
	for _, v := range values {
		if v.has(mayOpen) && len(v.items) > 0 {
			list = append(list, Attribute{Name: v.key, After: v.text(false)})
		}
	}
	return list
}

// compare lists the attributes that differ between two versions of an object.
func compare(before, after []value) []Attribute {
	var list []Attribute
	i := 0
	for _, w := range after {
		k := slices.IndexFunc(before[i:], func(v value) bool { return v.key == w.key })
		v := value{key: w.key, trait: w.trait & isList}
		if k >= 0 {
			for _, gone := range before[i : i+k] {
				list = appendDifference(list, gone, value{key: gone.key, trait: gone.trait & isList})
			}
			v = before[i+k]
			i += k + 1
		} else if w.has(isUsual) {
			continue
		}
		list = appendDifference(list, v, w)
	}
	for _, gone := range before[i:] {
		list = appendDifference(list, gone, value{key: gone.key, trait: gone.trait & isList})
	}
	return list
}

func appendDifference(list []Attribute, v, w value) []Attribute {
	if v.same(w) || len(w.items) == 0 && v.has(isUsual) {
		return list
	}
	a := Attribute{Name: w.key, AtNextStart: w.has(atStart)}
	ambiguous := v.text(false) == w.text(false)
	if v.has(isList) && w.has(isList) {
		a.Added, a.Removed = withoutItems(w.items, v.items, ambiguous), withoutItems(v.items, w.items, ambiguous)
	}
	if len(a.Added)+len(a.Removed) == 0 {
		a.Before, a.After = v.text(ambiguous), w.text(ambiguous)
	}
	return append(list, a)
}

// withoutItems lists the items of one list that another one does not have, or not as often.
func withoutItems(list, other []item, ids bool) []string {
	rest := map[item]int{}
	for _, x := range other {
		rest[x]++
	}
	var texts []string
	for _, x := range list {
		if rest[x]--; rest[x] < 0 {
			texts = append(texts, x.read(ids))
		}
	}
	return texts
}

// text is the whole value, "none" if nothing is set. IDs tell what else would read the same.
func (v value) text(ids bool) string {
	if len(v.items) == 0 {
		return "none"
	}
	if v.has(hidden) {
		return "(not shown)"
	}
	var texts []string
	for _, x := range v.items {
		texts = append(texts, x.read(ids))
	}
	return strings.Join(texts, ", ")
}

func (x item) read(ids bool) string {
	if ids && x.id != "" && x.id != x.text {
		return fmt.Sprintf("%s [%s]", x.text, x.id)
	}
	return x.text
}

// renamed finds the new objects that look like removed ones under another name: each with the one removed object that
// it can be.
func renamed(from, to *State, changes []Change) map[Ref]*Former {
	type pair struct {
		gone, come   Object
		gones, comes int // how many there are
	}
	pairs := map[string]*pair{}
	at := func(c *content, o Object) *pair {
		if o.About().Name == "" {
			return new(pair)
		}
		key := c.likeness(o, true)
		if pairs[key] == nil {
			pairs[key] = new(pair)
		}
		return pairs[key]
	}
	for _, c := range changes {
		switch c.Op {
		case Added:
			p := at(&to.content, c.After)
			p.come, p.comes = c.After, p.comes+1
		case Removed:
			p := at(&from.content, c.Before)
			p.gone, p.gones = c.Before, p.gones+1
		}
	}
	found := map[Ref]*Former{}
	for _, p := range pairs {
		if p.gones == 1 && p.comes == 1 && p.gone.About().Name != p.come.About().Name {
			found[p.come.Ref()] = &Former{p.gone.About().ID, from.call(p.gone)}
		}
	}
	return found
}

// likeness is equal for two objects that differ in their names only, with all that is part of them. Whether they
// belong to the same object counts on the top only: below, it is the renamed one.
func (c *content) likeness(o Object, top bool) string {
	var b strings.Builder
	b.WriteString(o.Ref().Kind.String())
	for _, v := range c.values(o) {
		if v.has(isName|isOrder|isMade) || v.has(isOwner) && !top {
			continue
		}
		fmt.Fprintf(&b, "\n%s %s", v.key, v.text(top && v.has(isOwner)))
	}
	var parts []string
	for _, h := range append(partsOf(o), alsoOf(o)...) {
		for id := range c.ids(h, o.About().ID) {
			parts = append(parts, c.likeness(c.find(id), false))
		}
	}
	slices.Sort(parts)
	for _, p := range parts {
		b.WriteString("\n" + strconv.Quote(p))
	}
	return b.String()
}

// alsoOf lists how objects belong to another one that are no part of it, but that make it what it is.
func alsoOf(o Object) []how {
	if _, ok := o.(*Router); ok {
		return []how{interfaceOf}
	}
	return nil
}

// Changes writes the attributes that differ, "" if there are none.
func (l *Line) Changes() string {
	var texts []string
	for _, a := range l.Attributes {
		texts = append(texts, a.String())
	}
	if f := l.Former; f != nil {
		texts = append(texts,
			fmt.Sprintf("renamed from %s: a new object; with id = %q it stays the former one", f.Name, f.ID))
	}
	return strings.Join(texts, "; ")
}

// String writes the line as a plan has it:
//
//   - network "vlan102" (lab.toml:12)
//     ~ pool "web": algorithm ROUND_ROBIN -> SOURCE_IP (lab.toml:30)
//   - floating IP 10.10.10.5
func (l *Line) String() string {
	text := l.Op.sign() + " " + l.Name
	if changes := l.Changes(); changes != "" {
		text += ": " + changes
	}
	if l.Op != Removed {
		if at := l.Source.String(); at != "" {
			text += " (" + at + ")"
		}
	}
	return text
}

// KeyValues lists the line for a structured log: keys, which are texts, and values in turn.
func (l *Line) KeyValues() []any {
	list := []any{"object", l.Name, "id", string(l.ID)}
	if changes := l.Changes(); changes != "" {
		list = append(list, "changes", changes)
	}
	if at := l.Source.String(); at != "" {
		list = append(list, "source", at)
	}
	return list
}

// String writes what has become of the attribute.
func (a *Attribute) String() string {
	text := a.Name
	switch {
	case len(a.Added)+len(a.Removed) > 0:
		var items []string
		for _, x := range a.Added {
			items = append(items, "+"+x)
		}
		for _, x := range a.Removed {
			items = append(items, "-"+x)
		}
		text += " " + strings.Join(items, ", ")
	case a.Before == "":
		text += " " + a.After
	default:
		text += fmt.Sprintf(" %s -> %s", a.Before, a.After)
	}
	if a.AtNextStart {
		text += ", at the next start"
	}
	return text
}

// sign is what a plan's line begins with.
func (o Op) sign() string { return [...]string{"+", "~", "-"}[o] }

// MarshalText writes the word that String returns.
func (o Op) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// MarshalText writes the name that String returns.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// String writes where it was, FILE:LINE or the request, "" if that is unknown.
func (s Source) String() string {
	switch {
	case s.Line != 0 && s.File != "":
		return s.File + ":" + strconv.Itoa(s.Line)
	case s.Line != 0:
		return "line " + strconv.Itoa(s.Line)
	case s.Request != "":
		return "request " + s.Request
	}
	return s.File
}
