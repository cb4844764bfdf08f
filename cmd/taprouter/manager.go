package main

import (
	"log/slog"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
)

// reloadingNow tells a service manager that a reload begins (Type=notify-reload, systemd.service(5)). It has the time
// of the clock that the manager goes by.
func reloadingNow() string {
	return strings.TrimSpace(daemon.SdNotifyReloading + "\nSTATUS=reloading\n" + daemon.SdNotifyMonotonicUsec())
}

// notify tells systemd about the service's state (sd_notify(3)), if it asks to be told.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("telling the service manager", "state", state, "err", err)
	}
}
