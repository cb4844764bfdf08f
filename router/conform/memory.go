package conform

import (
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
	"github.com/taprouter/taprouter/tap"
)

// Memory is taprouter in simulated time. It needs no rights.
func Memory() Target { return memory{} }

type memory struct{}

// Name implements Target.
func (memory) Name() string { return "taprouter" }

// Start implements Target.
func (memory) Start(p Profile) (Wire, error) {
	state, err := stateOf(&p, defaultTimeouts, nil)
	if err != nil {
		return nil, err
	}
	s, err := router.Simulate(state, 1+uint64(p.Restarts))
	if err != nil {
		return nil, err
	}
	return &simulated{Simulation: s, control: control.New(s.Engine, control.Options{}), got: map[string][][]byte{}}, nil
}

// A simulated router is at rest whenever it is asked for frames.
type simulated struct {
	*router.Simulation
	control *control.Control
	got     map[string][][]byte
	answer  func(string, []byte) []byte
}

// Put implements Wire.
func (s *simulated) Put(network string, eth []byte) error {
	if err := s.Simulation.Put(network, append(make([]byte, tap.HeaderLen), eth...)); err != nil {
		return err
	}
	return s.collect()
}

// collect takes what has come out, and puts the answers to it in, until there are no
// more.
func (s *simulated) collect() error {
	for again := true; again; {
		again = false
		for _, network := range networks {
			for _, f := range s.Take(network) {
				eth := f.Ethernet()
				if reply := s.reply(network, eth); reply != nil {
					if err := s.Simulation.Put(network, append(make([]byte, tap.HeaderLen), reply...)); err != nil {
						return err
					}
					again = true
					continue
				}
				s.got[network] = append(s.got[network], eth)
			}
		}
	}
	return nil
}

func (s *simulated) reply(network string, eth []byte) []byte {
	if s.answer == nil {
		return nil
	}
	return s.answer(network, eth)
}

// Get implements Wire.
func (s *simulated) Get(network string, _ bool) ([]byte, error) {
	got := s.got[network]
	if len(got) == 0 {
		return nil, nil
	}
	s.got[network] = got[1:]
	return got[0], nil
}

// Answer implements Wire.
func (s *simulated) Answer(answer func(string, []byte) []byte) { s.answer = answer }

// Wait implements Wire.
func (s *simulated) Wait(d time.Duration) error {
	for end := s.Now() + d; ; {
		more, err := s.Step(end)
		if err == nil {
			err = s.collect()
		}
		if err != nil || !more {
			return err
		}
	}
}

// Day is the router's time of the day: simulations begin at midnight UT.
func (s *simulated) Day() time.Time { return time.Unix(0, 0).Add(s.Now()) }

// Timeouts implements Wire.
func (s *simulated) Timeouts() Timeouts { return defaultTimeouts }

// Associate implements Changer.
func (s *simulated) Associate(floating, fixed netip.Addr) error {
	return s.changed(s.control.AssociateFloatingIP(floating, fixed))
}

// Disassociate implements Changer.
func (s *simulated) Disassociate(floating netip.Addr) error {
	return s.changed(s.control.DisassociateFloatingIP(floating))
}

// SetMember implements Changer.
func (s *simulated) SetMember(pool, member string, up bool) error {
	return s.changed(s.control.SetMember(pool, member, up))
}

// changed takes what a change has had the router send.
func (s *simulated) changed(err error) error {
	if err == nil {
		err = s.Run()
	}
	if err == nil {
		err = s.collect()
	}
	return err
}
