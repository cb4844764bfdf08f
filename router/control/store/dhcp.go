package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/taprouter/taprouter/internal/dhcp"
)

// Prefixes of the keys of leases. A lease has the key of its network and client, and one that says whose its address
// is, so that an address belongs to one client, whoever else writes to the store.
const (
	leasePrefix = Root + "lease/"
	allocPrefix = Root + "alloc/"
)

// maxLeaseChanges is how many changes of leases one Txn makes at most.
const maxLeaseChanges = 2048

// DHCPLeases keeps the dynamic leases of DHCP in a Store. It is a dhcp.Keeper: changes that come while others are being
// written down are written down together. Load comes first.
type DHCPLeases struct {
	store Store

	mu      sync.Mutex
	queue   []*leaseWrite
	writing bool

	// What the store has. Whoever is writing uses it, without mu.
	known  bool // false: an error has left it open
	leases map[string]keptLease
	allocs map[string]keptAlloc
}

// A keptLease is what the store has at the key of a lease.
type keptLease struct {
	address netip.Addr
	modRev  int64
}

// A keptAlloc is what the store has at the key of an address.
type keptAlloc struct {
	client string
	modRev int64
}

// A leaseWrite is one call of Keep.
type leaseWrite struct {
	changes []dhcp.Change
	errs    []error
	done    chan struct{}
}

// A leaseValue is the text of a lease's key.
type leaseValue struct {
	Address  netip.Addr
	MAC      string
	ClientID []byte `json:",omitempty"`
	Hostname string `json:",omitempty"`
	Device   string `json:",omitempty"`
	Began    time.Time
	Ends     time.Time
	Declined bool `json:",omitempty"`
}

// An allocValue is the text of an address's key.
type allocValue struct{ Client string }

// NewDHCPLeases returns the DHCPLeases of a Store.
func NewDHCPLeases(s Store) *DHCPLeases { return &DHCPLeases{store: s} }

// dhcpKey is the key of a client's lease, allocKey that of an address.
func dhcpKey(l *dhcp.Lease) string { return leasePrefix + l.Network + "/" + l.Client }
func allocKey(network string, a netip.Addr) string {
	return allocPrefix + network + "/" + a.String()
}

// Load reads all leases. Values that cannot be read are left out, and the error has a line for each: their addresses
// are free. Nothing is read if the error wraps ErrNotRead.
func (l *DHCPLeases) Load(ctx context.Context) ([]dhcp.Lease, error) {
	leases, err := l.load(ctx)
	l.known = !errors.Is(err, ErrNotRead)
	return leases, err
}

// ErrNotRead says that leases could not be read from the store.
var ErrNotRead = errors.New("the leases cannot be read")

func (l *DHCPLeases) load(ctx context.Context) (leases []dhcp.Lease, err error) {
	kvs, _, err := l.store.Range(ctx, leasePrefix)
	if err != nil {
		return nil, fmt.Errorf("store: %w: %w", ErrNotRead, err)
	}
	allocs, _, err := l.store.Range(ctx, allocPrefix)
	if err != nil {
		return nil, fmt.Errorf("store: %w: %w", ErrNotRead, err)
	}
	l.leases, l.allocs = make(map[string]keptLease, len(kvs)), make(map[string]keptAlloc, len(allocs))
	var faults []error
	for _, kv := range kvs {
		lease, err := decodeLease(kv)
		if err != nil {
			faults = append(faults, fmt.Errorf("store: key %q: %w", kv.Key, err))
		} else {
			leases = append(leases, lease)
		}
		l.leases[kv.Key] = keptLease{lease.Address, kv.ModRev}
	}
	for _, kv := range allocs {
		var v allocValue
		text, err := unseal(kv.Value)
		if err == nil {
			err = json.Unmarshal(text, &v)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("store: key %q: %w", kv.Key, err))
		}
		l.allocs[kv.Key] = keptAlloc{v.Client, kv.ModRev}
	}
	return leases, errors.Join(faults...)
}

// decodeLease reads the lease of a key.
func decodeLease(kv KV) (dhcp.Lease, error) {
	text, err := unseal(kv.Value)
	if err != nil {
		return dhcp.Lease{}, err
	}
	var v leaseValue
	if err := json.Unmarshal(text, &v); err != nil {
		return dhcp.Lease{}, fmt.Errorf("%w: %w", ErrBrokenValue, err)
	}
	network, client, _ := strings.Cut(strings.TrimPrefix(kv.Key, leasePrefix), "/")
	l := dhcp.Lease{Network: network, Client: client, Address: v.Address, ClientID: v.ClientID, Hostname: v.Hostname,
		Device: v.Device, Began: v.Began, Ends: v.Ends, Declined: v.Declined}
	m, err := net.ParseMAC(v.MAC)
	if err != nil || len(m) != len(l.MAC) || client == "" || !v.Address.Is4() {
		return dhcp.Lease{}, fmt.Errorf("%w: it is no lease", ErrBrokenValue)
	}
	copy(l.MAC[:], m)
	return l, nil
}

// encodeLease writes the value of a lease.
func encodeLease(l *dhcp.Lease) ([]byte, error) {
	text, err := json.Marshal(leaseValue{l.Address, net.HardwareAddr(l.MAC[:]).String(), l.ClientID, l.Hostname,
		l.Device, l.Began.UTC(), l.Ends.UTC(), l.Declined})
	if err != nil {
		return nil, fmt.Errorf("store: key %q: %w", dhcpKey(l), err)
	}
	return seal(schema, text), nil
}

// Keep implements dhcp.Keeper. An error wraps ErrConflict if another program has given the address to somebody else.
func (l *DHCPLeases) Keep(ctx context.Context, changes []dhcp.Change) []error {
	w := &leaseWrite{changes: changes, errs: make([]error, len(changes)), done: make(chan struct{})}
	l.mu.Lock()
	l.queue = append(l.queue, w)
	if l.writing {
		l.mu.Unlock()
		<-w.done
		return w.errs
	}
	l.writing = true
	for len(l.queue) > 0 {
		n, size := 0, 0
		for n < len(l.queue) && (n == 0 || size+len(l.queue[n].changes) <= maxLeaseChanges) {
			size += len(l.queue[n].changes)
			n++
		}
		batch := l.queue[:n:n]
		l.queue = l.queue[n:]
		l.mu.Unlock()
		l.write(ctx, batch)
		l.mu.Lock()
	}
	l.queue, l.writing = nil, false
	l.mu.Unlock()
	return w.errs
}

// writeTime is how long a change of leases may take.
const writeTime = 10 * time.Second

// write makes the changes of several calls: all in one Txn, or if another program is in the way of one, each alone.
func (l *DHCPLeases) write(ctx context.Context, batch []*leaseWrite) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	var all []*dhcp.Change
	var errs []*error
	for _, w := range batch {
		defer close(w.done)
		for i := range w.changes {
			all, errs = append(all, &w.changes[i]), append(errs, &w.errs[i])
		}
	}
	err := l.txn(ctx, all)
	if !errors.Is(err, ErrConflict) || len(all) == 1 {
		for _, e := range errs {
			*e = err
		}
		return
	}
	for i := range all {
		*errs[i] = l.txn(ctx, all[i:i+1])
	}
}

// txn makes changes in one Txn.
func (l *DHCPLeases) txn(ctx context.Context, changes []*dhcp.Change) error {
	if !l.known {
		if _, err := l.load(ctx); errors.Is(err, ErrNotRead) {
			return err
		}
		l.known = true
	}
	t := leaseTxn{l: l, ops: map[string]Op{}, leases: map[string]keptLease{}, allocs: map[string]keptAlloc{}}
	for _, c := range changes {
		if err := t.add(c); err != nil {
			l.known = l.known && !errors.Is(err, ErrConflict) // the other program may have given it up
			return err
		}
	}
	if len(t.ops) == 0 {
		return nil
	}
	var cmps []Cmp
	ops := make([]Op, 0, len(t.ops))
	for key, op := range t.ops {
		rev := l.leases[key].modRev
		if strings.HasPrefix(key, allocPrefix) {
			rev = l.allocs[key].modRev
		}
		cmps = append(cmps, Cmp{key, rev})
		ops = append(ops, op)
	}
	rev, ok, err := l.store.Txn(ctx, cmps, ops)
	if err != nil || !ok {
		l.known = false // the store may have made it all the same, or somebody else another one
		if err == nil {
			err = fmt.Errorf("store: leases: %w", ErrConflict)
		}
		return err
	}
	t.done(rev)
	return nil
}

// A leaseTxn gathers the changes of one Txn.
type leaseTxn struct {
	l      *DHCPLeases
	ops    map[string]Op
	leases map[string]keptLease // as they are after it, without revisions
	allocs map[string]keptAlloc
}

// lease is what a key of a lease has after the changes so far.
func (t *leaseTxn) lease(key string) keptLease {
	if v, ok := t.leases[key]; ok {
		return v
	}
	return t.l.leases[key]
}

// alloc is what a key of an address has after the changes so far.
func (t *leaseTxn) alloc(key string) keptAlloc {
	if v, ok := t.allocs[key]; ok {
		return v
	}
	return t.l.allocs[key]
}

// add adds one change.
func (t *leaseTxn) add(c *dhcp.Change) error {
	key := dhcpKey(&c.Lease)
	if c.Gone {
		if t.lease(key).address == c.Address {
			t.ops[key], t.leases[key] = Op{Key: key, Delete: true}, keptLease{}
		}
		t.free(c.Network, c.Address, c.Client)
		return nil
	}
	at := allocKey(c.Network, c.Address)
	if was := t.alloc(at); was.client != "" && was.client != c.Client {
		// The server has found its lease at an end, or another program has it.
		if other := t.lease(leasePrefix + c.Network + "/" + was.client); other.address == c.Address {
			return fmt.Errorf("store: leases: %v is that of %s: %w", c.Address, was.client, ErrConflict)
		}
	}
	value, err := encodeLease(&c.Lease)
	if err != nil {
		return err
	}
	owner, err := json.Marshal(allocValue{c.Client})
	if err != nil {
		return err
	}
	if was := t.lease(key); was.address.IsValid() && was.address != c.Address {
		t.free(c.Network, was.address, c.Client)
	}
	t.ops[key], t.leases[key] = Op{Key: key, Value: value}, keptLease{address: c.Address}
	t.ops[at], t.allocs[at] = Op{Key: at, Value: seal(schema, owner)}, keptAlloc{client: c.Client}
	return nil
}

// free takes an address from a client, if it is the client's.
func (t *leaseTxn) free(network string, a netip.Addr, client string) {
	if at := allocKey(network, a); t.alloc(at).client == client {
		t.ops[at], t.allocs[at] = Op{Key: at, Delete: true}, keptAlloc{}
	}
}

// done notes what the store has after the Txn.
func (t *leaseTxn) done(rev int64) {
	for key, v := range t.leases {
		if v.modRev = rev; t.ops[key].Delete {
			delete(t.l.leases, key)
		} else {
			t.l.leases[key] = v
		}
	}
	for key, v := range t.allocs {
		if v.modRev = rev; t.ops[key].Delete {
			delete(t.l.allocs, key)
		} else {
			t.l.allocs[key] = v
		}
	}
}
