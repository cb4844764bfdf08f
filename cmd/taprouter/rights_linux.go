package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// dropCapabilities leaves these capabilities to every thread of the process, if it has them,
// and nothing to what it might execute. It cannot be undone.
//
// The user stays the same: root without capabilities is still the owner of root's files. To
// avoid that, run the process as another user.
func dropCapabilities(keep []string) error {
	kept := map[cap.Value]bool{}
	for _, name := range keep {
		v, err := cap.FromName(strings.ToLower(name))
		if err != nil {
			return err
		}
		kept[v] = true
	}
	had := cap.GetProc()
	left := cap.NewSet()
	// The steps that need CAP_SETPCAP come first. Without that right, no_new_privs does the same.
	setpcap, err := had.GetFlag(cap.Effective, cap.SETPCAP)
	if err != nil {
		return err
	}
	for v := cap.Value(0); v < cap.MaxBits(); v++ {
		if has, err := had.GetFlag(cap.Permitted, v); err != nil {
			return err
		} else if has && kept[v] {
			if err := left.SetFlag(cap.Permitted, true, v); err != nil {
				return err
			}
			if err := left.SetFlag(cap.Effective, true, v); err != nil {
				return err
			}
		}
		if bound, err := cap.GetBound(v); err == nil && bound && !kept[v] && setpcap {
			if err := cap.DropBound(v); err != nil {
				return fmt.Errorf("%v out of the bounding set: %w", v, err)
			}
		}
	}
	if err := left.SetProc(); err != nil { // also empties the inheritable and the ambient set
		return fmt.Errorf("capabilities: %w", err)
	}
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return nil
}

// passRights has the rights of the process stay with the program that it executes (capabilities(7), ambient set). The
// user root needs it, too, where it is root in name only (SECBIT_NOROOT).
func passRights() error {
	had := cap.GetProc()
	var all []cap.Value
	for v := cap.Value(0); v < cap.MaxBits(); v++ {
		has, err := had.GetFlag(cap.Permitted, v)
		if err != nil {
			return err
		}
		if has {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return nil
	}
	if err := had.SetFlag(cap.Inheritable, true, all...); err != nil {
		return err
	}
	if err := had.SetProc(); err != nil {
		return fmt.Errorf("inheritable capabilities: %w", err)
	}
	if err := cap.SetAmbient(true, all...); err != nil {
		return fmt.Errorf("ambient capabilities: %w", err)
	}
	return nil
}

// tryPassRights finds out whether passRights would work. Afterwards nothing is passed.
func tryPassRights() error {
	err := passRights()
	if lost := cap.ResetAmbient(); err == nil {
		err = lost
	}
	had := cap.GetProc()
	if had.ClearFlag(cap.Inheritable) == nil {
		if lost := had.SetProc(); err == nil {
			err = lost
		}
	}
	return err
}
