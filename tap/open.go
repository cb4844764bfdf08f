package tap

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
)

// Options are the settings of a device that is opened.
type Options struct {
	// Logger receives how the device was set up; nil discards it.
	Logger *slog.Logger
	// Guard closes the interfaces of raw devices to the host's own network stack; nil
	// leaves them open. Several devices may share one. TAP devices do not use it.
	Guard *Guard
}

func (o Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger
}

// A Link is what WatchLinks tells of a network interface.
type Link struct {
	Name string
	MTU  int  // the largest packet that it takes, in bytes
	Gone bool // there is no interface of this name any more
}

// maxName is the longest interface name, in bytes (IFNAMSIZ less the final zero).
const maxName = 15

// checkName refuses what the kernel does not take for a name. It refuses "%", too, which the kernel takes for a
// pattern, and a zero byte, which ends the name for the kernel: it would make a device of another name.
func checkName(kind, name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("tap: open %s:%s: an interface name has 1 to %d bytes", kind, name, maxName)
	}
	if name == "." || name == ".." || strings.ContainsAny(name, "/:% \t\n\v\f\r\x00") {
		return fmt.Errorf("tap: open %s:%q: an interface name has no slash, colon, percent sign, space or zero "+
			"byte in it, and is not a dot or two", kind, name)
	}
	return nil
}

// explain adds the way out to an error that a person can do something about.
func explain(what string, err error) error {
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("tap: open %s: not permitted: run as root, or with CAP_NET_ADMIN and CAP_NET_RAW, "+
			"or use `taprouter lab`, which needs neither: %w", what, err)
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("tap: open %s: another process has this device open: %w", what, err)
	}
	return fmt.Errorf("tap: open %s: %w", what, err)
}
