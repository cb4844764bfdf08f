package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/ownership"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control/store"
)

// stateFlags are the flags of `run` that say where the State is kept.
type stateFlags struct {
	StateDir    string `placeholder:"DIR" help:"Keep in this directory what programs change, over restarts. It is made."`
	AcceptState string `placeholder:"FILE" help:"Begin with this copy if the state in --state-dir is broken or missing."`
}

// stateName is the file of the store in the state directory.
const stateName = "state.db"

// A keeping is the ownership of the State, and the store that keeps it.
type keeping struct {
	own    *ownership.Ownership
	store  store.Store // nil: nothing is kept
	leases []router.Lease
	keeper router.LeaseKeeper // of leases; nil: nothing is kept
}

// keep opens the store and makes the State to serve.
func (s *stateFlags) keep(ctx context.Context, f *file.File, log *slog.Logger) (*keeping, error) {
	k := &keeping{}
	switch {
	case s.StateDir != "":
		if err := os.MkdirAll(s.StateDir, 0o700); err != nil {
			return nil, fmt.Errorf("--state-dir: %w", err)
		}
		kv, err := store.Bolt(filepath.Join(s.StateDir, stateName), store.BoltOptions{Accept: s.AcceptState, Log: log})
		if err != nil {
			return nil, err
		}
		k.store = kv
	case s.AcceptState != "":
		return nil, errors.New("--accept-state needs --state-dir, which says where the state is kept")
	}
	err := k.loadLeases(ctx, log)
	var own *ownership.Ownership
	if err == nil {
		own, err = ownership.Start(ctx, f, ownership.Options{Store: k.store, Log: log, Claimed: k.leased()})
	}
	if err != nil {
		k.close(log)
		return nil, err
	}
	k.own = own
	return k, nil
}

// loadLeases reads the leases of DHCP that the store has.
func (k *keeping) loadLeases(ctx context.Context, log *slog.Logger) error {
	if k.store == nil {
		return nil
	}
	kept := store.NewDHCPLeases(k.store)
	leases, err := kept.Load(ctx)
	if errors.Is(err, store.ErrNotRead) {
		return err
	} else if err != nil {
		log.Warn("leases of DHCP that cannot be read are forgotten; their hosts may ask for their addresses", "err",
			err)
	}
	k.leases, k.keeper = leases, kept
	return nil
}

// A place is an address of a network.
type place struct {
	network config.ID
	address netip.Addr
}

// leased returns a function that says whether an address was leased when the process began.
func (k *keeping) leased() func(network config.ID, a netip.Addr) bool {
	now, all := time.Now(), make(map[place]bool, len(k.leases))
	for _, l := range k.leases {
		if now.Before(l.Ends) {
			all[place{config.ID(l.Network), l.Address}] = true
		}
	}
	return func(network config.ID, a netip.Addr) bool { return all[place{network, a}] }
}

// close closes the store.
func (k *keeping) close(log *slog.Logger) {
	if k.store == nil {
		return
	}
	if err := k.store.Close(); err != nil {
		log.Error("the state was not closed; it is checked at the next start", "err", err)
	}
}
