package conntrack

import "github.com/taprouter/taprouter/internal/packet"

// Judge returns a function that says what Apply would do to a connection that is in the table now, and
// changes nothing. concerned says that the change names the connection. goesOn says that the connection
// goes on all the same: it is a TCP connection that is more than a SYN, and the change keeps these. So a
// caller can count how many connections a change ends before it is made. Connections that an earlier change
// has ended are for the caller to pass over, as Walk does.
//
// The function holds a copy of Addrs and Backends. It calls Concerns also for connections that KeepTCP
// keeps.
func (ch *Change) Judge() func(c *Conn) (concerned, goesOn bool) {
	addrs, backends := setOf(ch.Addrs), setOf(ch.Backends)
	delete(backends, 0) // connections to no backend are not named
	concerns, keepTCP := ch.Concerns, ch.KeepTCP
	return func(c *Conn) (concerned, goesOn bool) {
		concerned = c.shows(addrs)
		if !concerned && len(backends) > 0 {
			_, concerned = backends[c.Backend]
		}
		concerned = concerned || concerns != nil && concerns(c)
		return concerned, concerned && keepTCP && c.proto == packet.ProtoTCP && !c.unanswered()
	}
}

func setOf[K comparable](list []K) map[K]struct{} {
	set := make(map[K]struct{}, len(list))
	for _, k := range list {
		set[k] = struct{}{}
	}
	return set
}

// shows reports whether one of a set of addresses is in a tuple of the connection.
func (c *Conn) shows(addrs map[packet.Addr]struct{}) bool {
	if len(addrs) == 0 {
		return false
	}
	for _, addr := range [4]packet.Addr{c.ends[0].src, c.ends[0].dst, c.ends[1].src, c.ends[1].dst} {
		if _, ok := addrs[addr]; ok {
			return true
		}
	}
	return false
}
