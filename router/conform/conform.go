// Package conform is a black-box suite for NAT routers: frames in, frames out.
// Each check is one requirement of an RFC, or one behavior that the users of a
// router rely on, and is played against a fresh router of a fixed network (Topology).
//
// The router under test is a Target: taprouter in memory, where hours of a timeout pass in
// microseconds, taprouter on TAP devices, and Linux's own routing with nftables NAT in a
// network namespace, for comparison. A target of your own implements two small
// interfaces, and Changer if it can be changed while it runs. nat/CONFORMANCE.md lists all
// items with their checks.
//
// A check needs nothing but frames, so a fault that it finds can be seen from outside the
// router. Frames are written in the language of the project's scenarios.
package conform

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// A Level is how strongly a requirement is meant, in the words of RFC 2119.
type Level string

// The levels. Good is no RFC's word: what users of a router rely on.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
	May    Level = "MAY"
	Good   Level = "-"
)

// A Check is one thing to be seen of a router.
type Check struct {
	// Item is the requirement's name in nat/CONFORMANCE.md, such as "U1".
	Item string
	// Name tells the checks of one item apart. ID has both.
	Name string
	// Level and Source say whose requirement it is: "RFC 4787, REQ-1".
	Level  Level
	Source string
	// Profile is how the router is configured for it.
	Profile Profile

	play func(*Case)
}

// ID names a check: "U1/default".
func (c *Check) ID() string { return c.Item + "/" + c.Name }

// Checks returns all checks. The checks of an item stand together.
func Checks() []Check {
	all := slices.Concat(udpChecks(), tcpChecks(), icmpChecks(), poolChecks(), fragmentChecks(), routerChecks(),
		optionChecks(), specialChecks(), fieldChecks(), arpChecks(),
		updateChecks(), staticChecks(), balanceChecks(), attackChecks(), hostileChecks())
	first := map[string]int{}
	for i := range all {
		if _, seen := first[all[i].Item]; !seen {
			first[all[i].Item] = i
		}
	}
	slices.SortStableFunc(all, func(a, b Check) int { return first[a.Item] - first[b.Item] })
	return all
}

// Select returns the checks whose ID a regular expression matches.
func Select(pattern string) ([]Check, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("conform: which checks: %w", err)
	}
	return slices.DeleteFunc(Checks(), func(c Check) bool { return !re.MatchString(c.ID()) }), nil
}

// An Outcome is how a check has ended on one target.
type Outcome string

// The outcomes. Skipped is for what a target cannot be asked: its Reason says why.
const (
	Passed  Outcome = "ok"
	Failed  Outcome = "FAILED"
	Skipped Outcome = "skipped"
)

// A Result is a check's outcome on a target.
type Result struct {
	Outcome Outcome
	Reason  string // of a failure or a skip
}

// errSkipped and errFailed end a check from within.
type (
	errSkipped string
	errFailed  string
)

func (e errSkipped) Error() string { return string(e) }
func (e errFailed) Error() string  { return string(e) }

// Run plays one check against a fresh router of the target. An error means that the
// target could not be started, or is broken; nothing about the check.
func Run(ctx context.Context, target Target, check *Check) (result Result, err error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	wire, err := target.Start(check.Profile)
	var skipped errSkipped
	if errors.As(err, &skipped) {
		return Result{Skipped, skipped.Error()}, nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("conform: %s: %w", target.Name(), err)
	}
	c := &Case{target: target, profile: check.Profile, hosts: newHosts(), wire: wire, Timeouts: wire.Timeouts()}
	defer func() {
		if closed := c.wire.Close(); err == nil && closed != nil {
			err = fmt.Errorf("conform: %s: %w", target.Name(), closed)
		}
	}()
	return c.run(check)
}

// run plays the check, and turns the way it ended into a result.
func (c *Case) run(check *Check) (result Result, err error) {
	defer func() {
		switch end := recover().(type) {
		case nil:
		case errSkipped:
			result = Result{Skipped, end.Error()}
		case errFailed:
			result = Result{Failed, end.Error()}
		case error:
			err = end
		default:
			panic(end)
		}
	}()
	c.learnMACs()
	check.play(c)
	return Result{Outcome: Passed}, nil
}
