package neutron

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// An Entry is one entry of a list that a topology file states. Requests may add others to the list, and take them out.
type Entry struct {
	Text   string // as config.Line has it: an address, 10.9.0.0/16 via 10.1.0.9, 10.1.0.9/32 02:00:00:00:00:09
	Source config.Source
}

// entriesOf lists the entries of an attribute that are the file's.
func entriesOf[T config.Object](e *edit, a attribute[T], o T) []Entry {
	if of := e.request.api.opt.Entries; of != nil {
		return of(o.Ref(), a.field)
	}
	if r, ok := any(o).(*config.Router); ok { // each route has a source of its own
		var list []Entry
		for _, x := range r.Routes {
			if x.Source.File != "" {
				list = append(list, Entry{routeText(x), x.Source})
			}
		}
		return list
	}
	at, ok := e.stated(o, a.field)
	if !ok {
		return nil
	}
	var list []Entry
	for _, text := range a.entries(o) {
		list = append(list, Entry{text, at})
	}
	return list
}

// keepEntries refuses a change of an object if an entry of the file's is no longer in one of its lists. The Draft has
// the object as it will be.
func (m *mounted[T]) keepEntries(e *edit, was T, changed func(name string) bool) error {
	for _, a := range m.list {
		if a.entries == nil || !changed(a.name) {
			continue
		}
		is, ok := m.get(e, was.About().ID)
		if !ok {
			continue
		}
		if err := keepIn(e, a, was, is); err != nil {
			return err
		}
	}
	return nil
}

// keepIn is keepEntries for one list of an object.
func keepIn[T config.Object](e *edit, a attribute[T], was, is T) error {
	texts := a.entries(is)
	for _, entry := range entriesOf(e, a, was) {
		if !hasEntry(is, texts, entry.Text) {
			return conflict("DeclaredInFile", "%s in %s of %v %s is declared in %s:%d; change the file and reload",
				entry.Text, a.name, is.Ref().Kind, is.About().ID, entry.Source.File, entry.Source.Line)
		}
	}
	return nil
}

// hasEntry says whether a list has an entry. In a file a pair of addresses may leave the port's MAC address out.
func hasEntry(o config.Object, texts []string, entry string) bool {
	if slices.Contains(texts, entry) {
		return true
	}
	p, ok := o.(*config.Port)
	return ok && slices.Contains(texts, entry+" "+p.MAC.String())
}

// in says that some attributes are changed.
func in[V any](body map[string]V) func(name string) bool {
	return func(name string) bool {
		_, ok := body[name]
		return ok
	}
}

func routeText(r config.Route) string {
	return fmt.Sprintf("%v via %v", r.Destination.Masked(), r.NextHop)
}

func routeTexts(routes []config.Route) []string { return textsOf(routes, routeText) }

func pairTexts(p *config.Port) []string {
	return textsOf(p.AllowedAddressPairs, func(pair config.AddressPair) string {
		mac := pair.MAC
		if mac.IsZero() {
			mac = p.MAC
		}
		return fmt.Sprintf("%v %v", pair.IP, mac)
	})
}

func optionTexts(p *config.Port) []string {
	return textsOf(extraOf(p.Extra).DHCPOptions, func(o config.DHCPOption) string {
		return fmt.Sprintf("%s=%s (IPv%d)", o.Name, o.Value, o.IPVersion)
	})
}

func groupTexts(ids []config.ID) []string {
	return textsOf(ids, func(id config.ID) string { return string(id) })
}

func fixedTexts(p *config.Port) []string { return textsOf(addressesOf(p), netip.Addr.String) }

func textsOf[V any](list []V, text func(v V) string) []string {
	texts := make([]string, 0, len(list))
	for _, v := range list {
		texts = append(texts, text(v))
	}
	return texts
}
