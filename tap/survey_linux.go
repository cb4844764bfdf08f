package tap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A survey is what the host has on its interfaces at one moment.
type survey struct {
	links     map[int]netlink.Link
	addresses []netlink.Addr
	routes    []netlink.Route // the default ones
	foreign   map[int]string  // names of what lies above an interface in another namespace, by index
	at        time.Time
}

// surveyTries is how often a list is asked for again that changed while it was read.
const surveyTries = 5

// complete asks again while the kernel says that a list has changed meanwhile.
func complete[T any](ask func() ([]T, error)) ([]T, error) {
	var all []T
	err := error(netlink.ErrDumpInterrupted)
	for i := 0; i < surveyTries && errors.Is(err, netlink.ErrDumpInterrupted); i++ {
		all, err = ask()
	}
	return all, err
}

// survey asks the kernel, in particular about the interfaces with these indexes. Its
// cost grows with all that the host has.
func (g *guardState) survey(indexes []int) (*survey, error) {
	links, err := complete(g.handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	v := &survey{links: make(map[int]netlink.Link, len(links)), at: time.Now()}
	for _, l := range links {
		v.links[l.Attrs().Index] = l
	}
	v.addresses, err = complete(func() ([]netlink.Addr, error) { return g.handle.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := complete(func() ([]netlink.Route, error) { return g.defaultRoutes(family) })
		if err != nil {
			return nil, fmt.Errorf("routes: %w", err)
		}
		v.routes = append(v.routes, routes...)
	}
	v.foreign = g.moved()
	for _, index := range indexes {
		if l := v.links[index]; l != nil {
			g.include(v, l)
		}
	}
	return v, nil
}

// defaultRoutes lists the default routes of all tables. There may be a million others.
func (g *guardState) defaultRoutes(family int) (routes []netlink.Route, err error) {
	err = g.handle.RouteListFilteredIter(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE,
		func(r netlink.Route) bool {
			if isDefault(r) && r.Type == unix.RTN_UNICAST {
				routes = append(routes, r)
			}
			return true
		})
	return routes, err
}

func isDefault(r netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

// needed says what the host has on an interface that it would lose: "" is nothing.
func (v *survey) needed(index int) string {
	for _, a := range v.addresses {
		if a.LinkIndex == index && a.Scope < int(netlink.SCOPE_LINK) {
			return fmt.Sprintf("it carries the host's address %v", a.IPNet)
		}
	}
	for _, r := range v.routes {
		on := r.LinkIndex == index
		for _, hop := range r.MultiPath {
			on = on || hop.LinkIndex == index
		}
		if on {
			return "it carries a default route of the host"
		}
	}
	if master := v.links[index].Attrs().MasterIndex; master != 0 {
		if l := v.links[master]; l != nil {
			return fmt.Sprintf("it is a port of %s", l.Attrs().Name)
		}
		return "it is a port of another interface"
	}
	for _, l := range v.links {
		if at := l.Attrs(); at.ParentIndex == index && at.NetNsID < 0 && liesAbove(l) {
			return fmt.Sprintf("%s lies above it", at.Name)
		}
	}
	return ""
}

// liesAbove reports whether an interface with a parent gets the parent's frames: a
// veth's parent is its other end.
func liesAbove(l netlink.Link) bool { return l.Type() != "veth" && l.Type() != "netkit" }

// moved finds interfaces of other network namespaces that lie above interfaces of this one.
// The kernel has no list of them. When an interface is made here and moved, this namespace keeps
// a number for the other one, by which the kernel lists the other one's interfaces.
func (g *guardState) moved() map[int]string {
	found := map[int]string{}
	for _, id := range g.namespaceIDs() {
		for _, l := range g.linksIn(id) {
			if at := l.Attrs(); at.ParentIndex > 0 && at.NetNsID >= 0 && liesAbove(l) && at.NetNsID == g.selfID() {
				found[at.ParentIndex] = fmt.Sprintf("%s, in another network namespace, lies above it", at.Name)
			}
		}
	}
	return found
}

// include puts a link into a survey that has been made without it.
func (g *guardState) include(v *survey, link netlink.Link) {
	index := link.Attrs().Index
	v.links[index] = link
	if v.foreign[index] == "" {
		v.foreign[index] = g.filtered(link)
	}
}

// filtered says what lies above an interface by the addresses in its filter: "" is
// nothing. A macvlan that was made in another namespace has its address there, as long as
// it is up. A VLAN or ipvlan that was made there is not found.
func (g *guardState) filtered(link netlink.Link) string {
	at := link.Attrs()
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
	req.Sockets = g.raw
	req.AddData(&netlink.Ndmsg{Family: unix.AF_BRIDGE, Index: uint32(at.Index)})
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	if err != nil {
		return ""
	}
	for _, m := range messages {
		e, err := netlink.NeighDeserialize(m)
		if err != nil {
			continue
		}
		mac := e.HardwareAddr
		if e.LinkIndex == at.Index && e.Flags&netlink.NTF_SELF != 0 && len(mac) == 6 && mac[0]&1 == 0 &&
			!bytes.Equal(mac, at.HardwareAddr) {
			return fmt.Sprintf("another interface, with the address %v, lies above it", mac)
		}
	}
	return ""
}

// Netlink attributes of network namespaces that x/sys/unix does not have
// (include/uapi/linux/net_namespace.h).
const (
	netnsaNSID = 1
	netnsaFD   = 3
	rtgenLen   = 4 // struct rtgenmsg, padded
)

// A rtgenmsg is the head of a request about namespaces.
type rtgenmsg struct{}

func (rtgenmsg) Len() int          { return rtgenLen }
func (rtgenmsg) Serialize() []byte { return make([]byte, rtgenLen) }

// namespaceIDs lists the numbers that other namespaces have in this one.
func (g *guardState) namespaceIDs() (ids []int) {
	req := nl.NewNetlinkRequest(unix.RTM_GETNSID, unix.NLM_F_DUMP)
	req.Sockets = g.raw
	req.AddData(rtgenmsg{})
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNSID)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if id, ok := nsid(m); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// selfID is the number that this namespace has in itself, -1 if none: it gets one
// when it is first needed.
func (g *guardState) selfID() int {
	if g.self == nil {
		return -1
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETNSID, 0)
	req.Sockets = g.raw
	req.AddData(rtgenmsg{})
	req.AddData(nl.NewRtAttr(netnsaFD, binary.NativeEndian.AppendUint32(nil, uint32(g.self.Fd()))))
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNSID)
	if err != nil || len(messages) == 0 {
		return -1
	}
	id, _ := nsid(messages[0])
	return id
}

func nsid(m []byte) (int, bool) {
	if len(m) < rtgenLen {
		return -1, false
	}
	attributes, err := nl.ParseRouteAttr(m[rtgenLen:])
	if err != nil {
		return -1, false
	}
	for _, a := range attributes {
		if a.Attr.Type == netnsaNSID && len(a.Value) >= 4 {
			id := int(int32(binary.NativeEndian.Uint32(a.Value)))
			return id, id >= 0
		}
	}
	return -1, false
}

// linksIn lists the links of the namespace with a number, as seen from this one.
func (g *guardState) linksIn(id int) (links []netlink.Link) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.Sockets = g.raw
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, binary.NativeEndian.AppendUint32(nil, uint32(id))))
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil // one that we may not look into, or that has ended
	}
	for _, m := range messages {
		if l, err := netlink.LinkDeserialize(nil, m); err == nil {
			links = append(links, l)
		}
	}
	return links
}

// concerns reports whether a message may be about an interface that is watched.
func (g *Guard) concerns(m syscall.NetlinkMessage) bool {
	order := binary.NativeEndian
	switch m.Header.Type {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return len(m.Data) >= unix.SizeofIfAddrmsg && g.watched[int(order.Uint32(m.Data[4:]))] != nil
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return len(m.Data) >= unix.SizeofRtMsg && m.Data[1] == 0 // a default route's length of prefix
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return g.concernsLink(m.Data)
	}
	return false
}

// concernsLink reports whether a link is watched, or lies above one that is.
func (g *Guard) concernsLink(b []byte) bool {
	if len(b) < unix.SizeofIfInfomsg {
		return false
	}
	order := binary.NativeEndian
	if g.watched[int(order.Uint32(b[4:]))] != nil {
		return true
	}
	attributes, err := nl.ParseRouteAttr(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return true // a message that is not understood
	}
	for _, a := range attributes {
		if a.Attr.Type == unix.IFLA_LINK && len(a.Value) >= 4 && g.watched[int(order.Uint32(a.Value))] != nil {
			return true
		}
	}
	return false
}
