package dns

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// cacheEntries is how many answers a Forwarder remembers, and cacheBytes how long they may be together.
	cacheEntries = 4096
	cacheBytes   = 4 << 20
	// longestTTL and longestNegative bound how long an answer is remembered: RFC 8767, 4, and RFC 2308, 5.
	longestTTL      = 24 * time.Hour
	longestNegative = time.Hour
)

// A cacheKey is what an answer depends on.
type cacheKey struct {
	name      string // in lower case
	typ       uint16
	class     uint16
	secure    bool // DO: the asker wants signatures
	unchecked bool // CD: the asker checks them itself
}

// A cached answer is a packed message, so that those who read it share nothing.
type cached struct {
	key     cacheKey
	message []byte
	since   time.Duration
	until   time.Duration
}

// A cache remembers answers until they are too old, and the latest used ones where there are too many. Several
// goroutines may use it. now is given by its user.
type cache struct {
	mu      sync.Mutex
	entries map[cacheKey]*list.Element // of *cached
	used    list.List                  // the latest used is in front
	bytes   int
}

// get returns a remembered answer, with the seconds that its records still have, or nil.
func (c *cache) get(k cacheKey, now time.Duration) *dns.Msg {
	c.mu.Lock()
	e := c.entries[k]
	if e == nil {
		c.mu.Unlock()
		return nil
	}
	at := e.Value.(*cached)
	if now >= at.until {
		c.remove(e)
		c.mu.Unlock()
		return nil
	}
	c.used.MoveToFront(e)
	message, since := at.message, at.since // never changed
	c.mu.Unlock()
	m := new(dns.Msg)
	if m.Unpack(message) != nil {
		return nil
	}
	age(m, uint32((now-since)/time.Second))
	return m
}

// put remembers an answer, if it may be.
func (c *cache) put(k cacheKey, m *dns.Msg, now time.Duration) {
	life := lifetime(m)
	if life <= 0 || m.Truncated {
		return
	}
	b, err := m.Pack()
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[k]; old != nil {
		c.remove(old)
	}
	if c.entries == nil {
		c.entries = map[cacheKey]*list.Element{}
	}
	c.entries[k] = c.used.PushFront(&cached{k, b, now, now + life})
	c.bytes += len(b)
	for len(c.entries) > cacheEntries || c.bytes > cacheBytes {
		c.remove(c.used.Back())
	}
}

func (c *cache) remove(e *list.Element) {
	gone := c.used.Remove(e).(*cached)
	delete(c.entries, gone.key)
	c.bytes -= len(gone.message)
}

// lifetime is how long an answer may be remembered: as long as the first of its records, or, of an answer that there
// is none, as long as its SOA record says (RFC 2308, 5). 0: not at all.
func lifetime(m *dns.Msg) time.Duration {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return 0
	}
	least := longestTTL
	each(m, func(h *dns.RR_Header) { least = min(least, time.Duration(h.Ttl)*time.Second) })
	if m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 {
		return least
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(least, longestNegative, time.Duration(soa.Minttl)*time.Second)
		}
	}
	return 0
}

// age takes seconds from the lifetimes of all records.
func age(m *dns.Msg, seconds uint32) {
	each(m, func(h *dns.RR_Header) { h.Ttl -= min(h.Ttl, seconds) })
}

// each calls a function for the header of each record that has a lifetime.
func each(m *dns.Msg, fn func(h *dns.RR_Header)) {
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				fn(h)
			}
		}
	}
}
