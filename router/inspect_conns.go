package router

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/ip"
)

var errClosed = os.ErrClosed

// closed says of what the error is.
func closed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("router: the engine has ended: %w", err)
	}
	return err
}

// A ConnectionFilter says which connections are meant. A zero field means any. A connection must fit all fields. A
// prefix that is not IPv4 fits none.
type ConnectionFilter struct {
	Router   string // by its name or id
	Protocol uint8  // IP protocol
	State    string // as ConnectionStates has it, in upper or lower case

	// Addresses and ports as they arrive at the router: of packets of the side that began the connection, and of
	// replies. Of ICMP the ports are the query identifier.
	Src, Dst, ReplySrc, ReplyDst                 netip.Prefix
	SrcPort, DstPort, ReplySrcPort, ReplyDstPort uint16

	Address netip.Prefix // that any of the four addresses is in
	Port    uint16       // that any of the four ports is
}

// ConnectionStates are the states of connections, as conntrack calls them.
func ConnectionStates() []string {
	var all []string
	for s := conntrack.New; s <= conntrack.Reset; s++ {
		all = append(all, s.String())
	}
	return all
}

// A ConnectionView is a Connection with ids of the State's objects.
type ConnectionView struct {
	Connection
	RouterID config.ID
	Listener config.ID // of a connection of a VIP; else empty
	Member   config.ID // likewise
}

// Connections calls fn for the connections that are meant, until it returns false. Between two steps, fn may take its
// time: nothing waits for it. fn may not keep the pointer. A connection that is there all the time is shown once, one
// that comes or goes at most once.
func (i *Inspector) Connections(ctx context.Context, f ConnectionFilter, fn func(*ConnectionView) bool) error {
	var backends backendNames
	return i.walk(ctx, f, func(step []shown) bool {
		for k := range step {
			v := &step[k].ConnectionView
			v.Listener = config.ID(step[k].backend.Listener)
			v.Member = backends.member(&step[k].backend)
			if !fn(v) {
				return false
			}
		}
		return true
	})
}

// EndConnections ends the connections that are meant, and returns how many they were. Both sides of a TCP connection
// get a RST, and what they send afterwards is refused. Of other protocols the next packet may begin a new connection by
// the rules of now. If the error is not nil, some have been ended.
func (i *Inspector) EndConnections(ctx context.Context, f ConnectionFilter) (int, error) {
	m, err := f.compile()
	if err != nil {
		return 0, err
	}
	ended := 0
	for _, r := range i.routersOf(f.Router) {
		for at, more := conntrack.Cursor(0), true; more; more = at != 0 {
			n := 0
			if err := r.Worker.Look(ctx, func() {
				w := r.Worker
				at = r.Conns.Walk(at, lookStep, w.Now, func(c *conntrack.Conn) bool {
					if m.fits(c) {
						r.End(&w.Turn, c)
						n++
					}
					return n < endStep
				})
			}); err != nil {
				return ended, closed(err)
			}
			ended += n
		}
	}
	return ended, nil
}

// endStep is how many connections a worker ends before it goes on with its packets: it tells two sides of each.
const endStep = 32

// A shown is a connection, and where it goes.
type shown struct {
	ConnectionView
	backend ip.BackendView
}

// walk calls fn for each step of a walk over the connections that are meant, until it returns false.
func (i *Inspector) walk(ctx context.Context, f ConnectionFilter, fn func([]shown) bool) error {
	m, err := f.compile()
	if err != nil {
		return err
	}
	buf := make([]shown, 0, lookStep) // made here, so that no worker has to
	for _, r := range i.routersOf(f.Router) {
		for at, more := conntrack.Cursor(0), true; more; more = at != 0 {
			step := buf
			if err := r.Worker.Look(ctx, func() {
				w := r.Worker
				at = r.Conns.Walk(at, lookStep, w.Now, func(c *conntrack.Conn) bool {
					if m.fits(c) {
						step = append(step, shown{ConnectionView{
							Connection: Connection{r.Name, r.Conns.Show(c, w.Now), nat.Mapped(c.Marks())},
							RouterID:   config.ID(r.ID),
						}, r.Backend(c)})
					}
					return true
				})
			}); err != nil {
				return closed(err)
			}
			if !fn(step) {
				return nil
			}
		}
	}
	return nil
}

// routersOf are the routers with a name or an id; all of them if it is empty.
func (i *Inspector) routersOf(name string) []*ip.Router {
	v := i.engine.view.Load()
	if name == "" {
		return v.routers
	}
	var some []*ip.Router
	s := i.engine.State()
	for _, r := range v.routers {
		if o := s.Router(config.ID(r.ID)); string(r.ID) == name || o != nil && o.Name == name {
			some = append(some, r)
		}
	}
	return some
}

// A matcher is a ConnectionFilter in the form in which connections are compared with it.
type matcher struct {
	*ConnectionFilter
	state    conntrack.State
	anyState bool
}

func (f *ConnectionFilter) compile() (*matcher, error) {
	m := &matcher{ConnectionFilter: f, anyState: f.State == ""}
	if m.anyState {
		return m, nil
	}
	for s := conntrack.New; s <= conntrack.Reset; s++ {
		if strings.EqualFold(s.String(), f.State) {
			m.state = s
			return m, nil
		}
	}
	return nil, fmt.Errorf("router: no connection has the state %q: the states are %s", f.State,
		strings.Join(ConnectionStates(), ", "))
}

// fits reports whether a connection is meant. The cheap comparisons come first.
func (m *matcher) fits(c *conntrack.Conn) bool {
	if m.Protocol != 0 && m.Protocol != c.Protocol() || !m.anyState && m.state != c.State() {
		return false
	}
	o, r := c.Tuple(conntrack.Original), c.Tuple(conntrack.Reply)
	for _, p := range [...][2]uint16{
		{m.SrcPort, o.SrcPort}, {m.DstPort, o.DstPort}, {m.ReplySrcPort, r.SrcPort}, {m.ReplyDstPort, r.DstPort},
	} {
		if p[0] != 0 && p[0] != p[1] {
			return false
		}
	}
	if m.Port != 0 && m.Port != o.SrcPort && m.Port != o.DstPort && m.Port != r.SrcPort && m.Port != r.DstPort {
		return false
	}
	return within(m.Src, o.Src) && within(m.Dst, o.Dst) && within(m.ReplySrc, r.Src) && within(m.ReplyDst, r.Dst) &&
		(within(m.Address, o.Src) || within(m.Address, o.Dst) || within(m.Address, r.Src) || within(m.Address, r.Dst))
}

// within reports whether an address is in a prefix. The zero prefix has all addresses.
func within(p netip.Prefix, a packet.Addr) bool { return p == netip.Prefix{} || p.Contains(a.Netip()) }

// backendNames finds the ids of members by their numbers, and remembers those of a pool.
type backendNames struct {
	pool    *ip.Pool
	members map[uint32]config.ID
}

func (n *backendNames) member(b *ip.BackendView) config.ID {
	switch {
	case b.Was != nil:
		return config.ID(b.Was.ObjectID)
	case b.Pool == nil:
		return ""
	case b.Pool != n.pool:
		n.pool, n.members = b.Pool, map[uint32]config.ID{}
		for i := range b.Pool.Members {
			n.members[b.Pool.Members[i].ID] = config.ID(b.Pool.Members[i].ObjectID)
		}
	}
	return n.members[b.Number]
}
