package lb_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
)

// model is what a Pool does, slow and obvious: lists, sorted and searched through each
// time. For turns by weight it only says which members may be chosen (TestTurnsStayFair and
// TestWeightedIsNginx say how); for hashing it asks a new pool of the same
// members, which is what another router would do.
type model struct {
	cfg     lb.Config
	weights int // the largest
	list    []*backend
	next    [2]int // by class
	total   uint64
	clients []*known // the one unused longest first

	other  *lb.Pool // with these members
	others []lb.Member
	ports  bool
}

type backend struct {
	lb.Member
	active int
	chosen uint64
}

type known struct {
	addr   packet.Addr
	id     uint32
	pinned bool
	active int
	last   time.Duration
}

func class(m *backend) int {
	if m.Backup {
		return 1
	}
	return 0
}

// may returns the members that may take new connections.
func (m *model) may() []*backend {
	var out []*backend
	for c := range 2 {
		for _, b := range m.list {
			if b.AdminStateUp && b.Healthy && b.Weight > 0 && class(b) == c {
				out = append(out, b)
			}
		}
		if len(out) > 0 {
			break
		}
	}
	return out
}

func (m *model) find(id uint32) *backend {
	for _, b := range m.list {
		if b.ID == id {
			return b
		}
	}
	return nil
}

func (m *model) known(addr packet.Addr) *known {
	for _, k := range m.clients {
		if k.addr == addr {
			return k
		}
	}
	return nil
}

// forget removes the clients that have timed out. It unpins a client whose member may not take new connections.
func (m *model) forget(now time.Duration) {
	may := m.may()
	m.clients = slices.DeleteFunc(m.clients, func(k *known) bool {
		k.pinned = k.pinned && slices.ContainsFunc(may, func(b *backend) bool { return b.ID == k.id })
		return k.active == 0 && (!k.pinned || now-k.last >= m.cfg.Persistence)
	})
}

// order returns the members that may take c, first choice first. exact: that is the only right order.
func (m *model) order(c lb.Client) (order []*backend, exact bool) {
	may := m.may()
	exact = true
	switch {
	case len(may) == 0:
		return nil, true
	case m.cfg.Algorithm == lb.LeastConnections:
		slices.SortStableFunc(may, func(a, b *backend) int {
			return cmp.Or(cmp.Compare((a.active+1)*b.Weight, (b.active+1)*a.Weight), cmp.Compare(a.chosen, b.chosen))
		})
	case m.cfg.Algorithm == lb.RoundRobin:
		at := slices.IndexFunc(may, func(b *backend) bool { return slices.Index(m.list, b) >= m.next[class(b)] })
		may = append(may[max(at, 0):len(may):len(may)], may[:max(at, 0)]...)
		exact = m.weights == 1
	default:
		var list []lb.Member
		for i := range m.list {
			b := m.list[len(m.list)-1-i].Member
			list = append(list, b)
		}
		if m.other == nil || !slices.Equal(list, m.others) || m.ports != (m.cfg.Algorithm == lb.SourceIPPort) {
			m.other, m.others = lb.NewPool(lb.Config{Algorithm: m.cfg.Algorithm}, list), list
			m.ports = m.cfg.Algorithm == lb.SourceIPPort
		}
		order := []*backend{}
		for k := range may {
			x, _ := m.other.Choice(c, k, 0)
			order = append(order, m.find(x.ID))
		}
		may = order
	}
	if k := m.known(c.Addr); k != nil && k.pinned {
		at := slices.IndexFunc(may, func(b *backend) bool { return b.ID == k.id })
		own := may[at]
		may = append([]*backend{own}, slices.Delete(may, at, at+1)...)
	}
	return may, exact
}

// use counts a connection of a client, or its end.
func (m *model) use(addr packet.Addr, n int, now time.Duration) *known {
	if m.cfg.Persistence == 0 {
		return &known{}
	}
	k := m.known(addr)
	if k == nil {
		if n < 0 {
			return &known{}
		}
		if len(m.clients) == m.cfg.Persistent {
			at := max(0, slices.IndexFunc(m.clients, func(k *known) bool { return k.active == 0 }))
			m.clients = slices.Delete(m.clients, at, at+1)
		}
		k = &known{addr: addr}
		m.clients = append(m.clients, k)
	}
	if k.active+n >= 0 {
		k.active += n
		k.last = now
		m.clients = append(slices.DeleteFunc(m.clients, func(o *known) bool { return o == k }), k)
	}
	return k
}

func (m *model) commit(c lb.Client, id uint32, now time.Duration) {
	own := m.known(c.Addr)
	pinned := own != nil && own.pinned && own.id == id
	b := m.find(id)
	may := b != nil && slices.Contains(m.may(), b)
	if b != nil {
		m.total++
		b.active++
		b.chosen = m.total
		if may && !pinned {
			m.next[class(b)] = (slices.Index(m.list, b) + 1) % len(m.list)
		}
	}
	if k := m.use(c.Addr, 1, now); may {
		k.id, k.pinned = id, true
	}
}

func (m *model) count(c lb.Client, id uint32, n int, now time.Duration) {
	if b := m.find(id); b != nil {
		b.active = max(0, b.active+n)
	}
	m.use(c.Addr, n, now)
}

func (m *model) remove(id uint32) bool {
	i := slices.IndexFunc(m.list, func(b *backend) bool { return b.ID == id })
	if i < 0 {
		return false
	}
	m.list = slices.Delete(m.list, i, i+1)
	for c := range m.next {
		if i < m.next[c] {
			m.next[c]--
		}
		if m.next[c] >= len(m.list) {
			m.next[c] = 0
		}
	}
	return true
}

// source is where a run's decisions come from.
type source interface{ IntN(n int) int }

// bytes are decisions that a fuzzer has made.
type bytes []byte

func (b *bytes) IntN(n int) int {
	if len(*b) == 0 {
		return 0
	}
	v := int((*b)[0]) % n
	*b = (*b)[1:]
	return v
}

type run struct {
	t    *testing.T
	r    source
	pool *lb.Pool
	m    *model
	now  time.Duration
	ids  uint32
	open []struct { // connections, also of members that are gone
		c  lb.Client
		id uint32
	}
	log []string
}

func (x *run) member() lb.Member {
	x.ids++
	return lb.Member{
		ID: x.ids, Addr: 0x0a000000 + packet.Addr(x.ids*5), Port: 80, Weight: x.weight(),
		Backup: x.r.IntN(4) == 0, AdminStateUp: x.r.IntN(6) > 0, Healthy: x.r.IntN(4) > 0,
	}
}

func (x *run) weight() int { return x.r.IntN(x.m.weights + 1) }

func (x *run) client() lb.Client {
	return lb.Client{Addr: packet.Addr(x.r.IntN(6)), Port: uint16(x.r.IntN(3))}
}

// id is a member's, or one that is gone or never was.
func (x *run) id() uint32 {
	if n := len(x.m.list); n > 0 && x.r.IntN(8) > 0 {
		return x.m.list[x.r.IntN(n)].ID
	}
	return uint32(x.r.IntN(int(x.ids) + 2))
}

func (x *run) note(format string, a ...any) { x.log = append(x.log, fmt.Sprintf(format, a...)) }

func (x *run) step() {
	x.now += time.Duration(x.r.IntN(3)) * time.Second
	x.m.forget(x.now)
	switch op := x.r.IntN(16); op {
	case 0:
		id, up := x.id(), x.r.IntN(2) == 0
		x.note("SetHealthy(%d, %t)", id, up)
		b := x.m.find(id)
		if b != nil {
			b.Healthy = up
		}
		x.agree("SetHealthy", x.pool.SetHealthy(id, up), b != nil)
	case 1:
		if x.r.IntN(3) == 0 {
			x.update()
			break
		}
		id, up := x.id(), x.r.IntN(2) == 0
		x.note("SetAdminState(%d, %t)", id, up)
		b := x.m.find(id)
		if b != nil {
			b.AdminStateUp = up
		}
		x.agree("SetAdminState", x.pool.SetAdminState(id, up), b != nil)
	case 2:
		id, w := x.id(), x.weight()
		x.note("SetWeight(%d, %d)", id, w)
		b := x.m.find(id)
		if b != nil {
			b.Weight = w
		}
		x.agree("SetWeight", x.pool.SetWeight(id, w), b != nil)
	case 3:
		if len(x.m.list) < 8 {
			b := x.member()
			x.note("Add(%+v)", b)
			x.pool.Add(b)
			x.m.list = append(x.m.list, &backend{Member: b})
		}
	case 4:
		id := x.id()
		x.note("Remove(%d)", id)
		x.agree("Remove", x.pool.Remove(id), x.m.remove(id))
	case 5, 6, 7:
		if n := len(x.open); n > 0 {
			i := x.r.IntN(n)
			o := x.open[i]
			x.note("End(%v, %d)", o.c, o.id)
			x.open = slices.Delete(x.open, i, i+1)
			x.pool.End(o.c, o.id, x.now)
			x.m.count(o.c, o.id, -1, x.now)
		}
	case 8:
		c, id := x.client(), x.id()
		switch x.r.IntN(3) {
		case 0:
			x.note("Resume(%v, %d)", c, id)
			x.pool.Resume(c, id, x.now)
			x.m.count(c, id, 1, x.now)
		case 1:
			x.note("End(%v, %d), of nobody", c, id)
			x.pool.End(c, id, x.now)
			x.m.count(c, id, -1, x.now)
		default:
			x.note("Commit(%v, %d), out of turn", c, id)
			x.pool.Commit(c, id, x.now)
			x.m.commit(c, id, x.now)
		}
	default:
		c, k := x.client(), max(0, x.r.IntN(6)-3)
		if got, ok := x.pool.Choice(c, k, x.now); ok {
			x.note("Commit(%v, %d), choice %d", c, got.ID, k)
			x.pool.Commit(c, got.ID, x.now)
			x.m.commit(c, got.ID, x.now)
			x.open = append(x.open, struct {
				c  lb.Client
				id uint32
			}{c, got.ID})
		}
	}
	x.m.forget(x.now)
	x.compare()
}

// update is a change of everything at once: settings, order, members that come, go and change.
func (x *run) update() {
	cfg := x.m.cfg
	switch x.r.IntN(4) {
	case 0:
		cfg.Algorithm = lb.Algorithm(x.r.IntN(4))
	case 1:
		cfg.Persistence = []time.Duration{0, min(cfg.Persistence, 4*time.Second), cfg.Persistence}[x.r.IntN(3)]
		if x.m.cfg.Persistence == 0 {
			cfg.Persistence = 10 * time.Second
		}
		cfg.Persistent = 1 + x.r.IntN(5)
	}
	var list []lb.Member
	for _, b := range x.m.list {
		if x.r.IntN(4) == 0 {
			continue
		}
		m := b.Member
		switch x.r.IntN(6) {
		case 0:
			m.Weight = x.weight()
		case 1:
			m.Backup = !m.Backup
		case 2:
			m.AdminStateUp = !m.AdminStateUp
		}
		at := x.r.IntN(len(list) + 1)
		if x.r.IntN(2) == 0 {
			at = len(list)
		}
		list = slices.Insert(list, at, m)
	}
	for len(list) < 8 && x.r.IntN(3) == 0 {
		list = append(list, x.member())
	}
	x.note("Update(%+v, %+v)", cfg, list)
	x.m.update(cfg, list)
	for i := range list { // what counts is what the pool knows
		if b := slices.IndexFunc(x.pool.Members(), func(m lb.MemberState) bool { return m.ID == list[i].ID }); b >= 0 {
			list[i].Healthy = x.r.IntN(2) == 0
		}
	}
	x.pool.Update(cfg, list)
}

// update: a member that stays is known by its ID. The turn stays with its member, or goes to the
// next one in the former order that has stayed.
func (m *model) update(cfg lb.Config, list []lb.Member) {
	var now []*backend
	for _, b := range list {
		stays := m.find(b.ID)
		if stays == nil {
			stays = &backend{}
		}
		now = append(now, stays)
	}
	for c, next := range m.next {
		m.next[c] = 0
		if cfg.Algorithm != m.cfg.Algorithm {
			continue // turns begin anew
		}
		for k := range m.list {
			if at := slices.Index(now, m.list[(next+k)%len(m.list)]); at >= 0 {
				m.next[c] = at
				break
			}
		}
	}
	for i, b := range now {
		b.Member = list[i]
	}
	m.list, m.cfg = now, cfg
	if cfg.Persistence == 0 {
		m.clients = nil
	}
	for len(m.clients) > cfg.Persistent {
		at := max(0, slices.IndexFunc(m.clients, func(k *known) bool { return k.active == 0 }))
		m.clients = slices.Delete(m.clients, at, at+1)
	}
}

func (x *run) agree(what string, got, want bool) {
	if got != want {
		x.fatal("%s says %t", what, got)
	}
}

func (x *run) fatal(format string, a ...any) {
	x.t.Helper()
	for _, l := range x.log[max(0, len(x.log)-30):] {
		x.t.Log(l)
	}
	x.t.Fatalf("algorithm %d, at %v: %s", x.m.cfg.Algorithm, x.now, fmt.Sprintf(format, a...))
}

// compare asks for all choices of a client, and for all that can be seen.
func (x *run) compare() {
	c := x.client()
	want, exact := x.m.order(c)
	seen := map[uint32]bool{}
	for k := range len(x.m.list) + 1 {
		got, ok := x.pool.Choice(c, k, x.now)
		switch own := x.m.known(c.Addr); {
		case ok != (k < len(want)):
			x.fatal("choice %d of %v: %t", k, c, ok)
		case ok && (exact || k == 0 && own != nil && own.pinned) && got != want[k].Member:
			x.fatal("choice %d of %v: %d, want %d", k, c, got.ID, want[k].ID)
		case ok && (seen[got.ID] || !slices.Contains(x.m.may(), x.m.find(got.ID))):
			x.fatal("choice %d of %v: %d has been, or may not", k, c, got.ID)
		}
		seen[got.ID] = true
	}
	var list []lb.MemberState
	for _, b := range x.m.list {
		list = append(list, lb.MemberState{Member: b.Member, Active: b.active})
		if got, want := x.pool.Takes(b.ID), slices.Contains(x.m.may(), b); got != want {
			x.fatal("%d takes connections: %t", b.ID, got)
		}
	}
	if got := x.pool.Members(); !slices.Equal(got, list) || x.pool.Total() != x.m.total {
		x.fatal("members %v, want %v; total %d, want %d", got, list, x.pool.Total(), x.m.total)
	}
}

func newRun(t *testing.T, r source) *run {
	x := &run{t: t, r: r, m: &model{}}
	x.m.cfg.Algorithm, x.m.weights = lb.Algorithm(r.IntN(4)), 1+2*r.IntN(2)
	if r.IntN(3) > 0 {
		x.m.cfg.Persistence, x.m.cfg.Persistent = 10*time.Second, 1+r.IntN(5)
	}
	var list []lb.Member
	for range r.IntN(5) {
		b := x.member()
		list = append(list, b)
		x.m.list = append(x.m.list, &backend{Member: b})
	}
	x.pool = lb.NewPool(x.m.cfg, list)
	x.note("%+v, %+v", x.m.cfg, list)
	return x
}

func TestModel(t *testing.T) {
	for seed := range uint64(150) {
		x := newRun(t, rand.New(rand.NewPCG(seed, 8)))
		steps := 300
		if x.m.cfg.Algorithm >= lb.SourceIP { // a table for each comparison
			steps = 50
		}
		for range steps {
			x.step()
		}
	}
}

func FuzzPool(f *testing.F) {
	for seed := range uint64(8) {
		r, data := rand.New(rand.NewPCG(seed, 9)), make([]byte, 600)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes(data[:min(len(data), 1000)])
		x := newRun(t, &r)
		for len(r) > 0 {
			x.step()
		}
	})
}
