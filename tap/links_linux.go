package tap

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// WatchLinks calls fn for every interface of the calling thread's network namespace, and
// again each time an interface comes, changes or goes. One goroutine calls fn, one call at
// a time. fn may be slow: if the kernel loses messages meanwhile, fn is called for all
// interfaces again. stop ends this, and returns when the last call of fn has returned. So
// fn must not call stop. stop may be called several times. An error is netlink's, wrapped.
// It needs no rights.
func WatchLinks(fn func(Link)) (stop func(), err error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
	if err != nil {
		return nil, fmt.Errorf("tap: watch interfaces: %w", err)
	}
	if err := askLinks(s); err != nil {
		s.Close()
		return nil, fmt.Errorf("tap: watch interfaces: %w", err)
	}
	closing, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		followLinks(s, closing, fn)
	}()
	var once sync.Once
	return func() {
		once.Do(func() {
			close(closing)
			s.Close()
		})
		<-done
	}, nil
}

// askLinks has the kernel tell of all interfaces.
func askLinks(s *nl.NetlinkSocket) error {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	return s.Send(req)
}

// watchPause is how long nothing must have come after an error before all interfaces are
// asked for: a socket that is full has no room for the answer.
const watchPause = 100 * time.Millisecond

// followLinks reads what the kernel tells until closing is closed, and then the socket.
func followLinks(s *nl.NetlinkSocket, closing <-chan struct{}, fn func(Link)) {
	pause := unix.NsecToTimeval(watchPause.Nanoseconds())
	for {
		messages, from, err := s.Receive()
		if err == nil && from.Pid != nl.PidKernel {
			continue
		}
		for _, m := range messages {
			header := unix.NlMsghdr(m.Header)
			switch m.Header.Type {
			case unix.RTM_NEWLINK, unix.RTM_DELLINK:
				if link, err := netlink.LinkDeserialize(&header, m.Data); err == nil {
					fn(Link{link.Attrs().Name, link.Attrs().MTU, m.Header.Type == unix.RTM_DELLINK})
				}
			case unix.NLMSG_ERROR: // it has not told what was asked for
				_ = s.SetReceiveTimeout(&pause)
			}
		}
		if err == nil {
			continue
		}
		select {
		case <-closing:
			return
		default:
		}
		switch {
		case errors.Is(err, unix.EAGAIN) && askLinks(s) == nil: // the pause is over
			_ = s.SetReceiveTimeout(&unix.Timeval{})
		case errors.Is(err, unix.ENOBUFS): // there was more than the socket holds
			_ = s.SetReceiveTimeout(&pause)
		default:
			_ = s.SetReceiveTimeout(&pause)
			time.Sleep(watchPause) // an error that lasts must not keep a processor busy
		}
	}
}
