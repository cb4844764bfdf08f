package lab

import (
	"errors"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
)

const balanced = `
[[instance]]
name = "c"
network = "right"
address = "198.51.100.11"
serve = ["http:80"]

[[pool]]
name = "the pool"
protocol = "TCP"

  [pool.monitor]
  type = "TCP"
  delay = "1s"
  max_retries = 1

  [[pool.member]]
  name = "b"
  address = "198.51.100.10"
  port = 80

  [[pool.member]]
  address = "198.51.100.11"
  port = 80
  backup = true

[[vip]]
name = "vip"
network = "right"
address = "198.51.100.100"
protocol = "TCP"
port = 80
pool = "the pool"
`

// A monitor takes a stopped member out and puts it back, and a member may be set by
// hand; a browser's connection outlives its member's turns.
func TestBalancerCommands(t *testing.T) {
	t.Parallel()
	out, err := play(t, balanced+`
[[step]]
do = "loadbalancer status"
expect = "2 of 2 members up"
within = "20s"
[[step]]
on = "a"
do = "browse http://198.51.100.100/"
expect = "b"
[[step]]
do = "loadbalancer stats"
expect = "member b: active 1, total 1"
[[step]]
do = "loadbalancer member set --weight 0 'the pool' b"
[[step]]
on = "a"
do = "curl http://198.51.100.100/"
expect = "c"
[[step]]
on = "a"
do = "browse http://198.51.100.100/"
expect = "b"
[[step]]
do = "loadbalancer member set --weight 3 --disable 'the pool' b"
[[step]]
do = "loadbalancer status"
expect = "member b: OFFLINE (198.51.100.10:80, weight 3) disabled"
[[step]]
do = "loadbalancer member set 'the pool' b --enable"
[[step]]
on = "b"
do = "stop http:80"
[[step]]
on = "b"
do = "stop http:80"
fails = true
expect = "stop: http:80 is not running"
[[step]]
do = "loadbalancer status"
expect = "member b: ERROR (198.51.100.10:80, weight 3) SYN, got RST: connection refused"
within = "20s"
[[step]]
on = "a"
do = "browse http://198.51.100.100/"
expect = "c"
[[step]]
on = "b"
do = "start http:80"
[[step]]
on = "b"
do = "start http:80"
fails = true
expect = "start: http:80 is running already"
[[step]]
do = "loadbalancer status"
expect = "member b: ONLINE"
within = "20s"
[[step]]
on = "a"
do = "curl http://198.51.100.100/"
expect = "b"
[[step]]
do = "loadbalancer status"
expect = "member 198.51.100.11:80: ONLINE (198.51.100.11:80, weight 1, backup)"
`)
	if err != nil || !strings.Contains(out, "18 steps, all as expected") {
		t.Errorf("error %v:\n%s", err, out)
	}
	tree := `    taprouter$ loadbalancer status
    load balancer 198.51.100.100: DEGRADED (at middle)
      listener vip: ONLINE (TCP port 80)
        pool the pool: DEGRADED (ROUND_ROBIN, 1 of 2 members up)
          member b: ERROR (`
	if !strings.Contains(out, tree) {
		t.Errorf("%s\nis not in:\n%s", tree, out)
	}
}

// A status that does not come is a failure when the step's time is over.
func TestStatusThatDoesNotCome(t *testing.T) {
	t.Parallel()
	out, err := play(t, balanced+"\n[[step]]\ndo = \"loadbalancer status\"\nexpect = \"member b: ERROR\"\n"+
		"within = \"100ms\"\n")
	if !errors.Is(err, ErrUnexpected) || strings.Count(out, "load balancer 198.51.100.100") != 1 {
		t.Errorf("error %v:\n%s", err, out)
	}
}

// A name in a command must be in the file.
func TestUnknownNamesAreFaults(t *testing.T) {
	const noMember = `pool "the pool" has no member "d": there are "b", "198.51.100.11:80"`
	for step, want := range map[string]string{
		`do = "loadbalancer member set --weight 1 pool b"`: `no such pool "pool": there are "the pool"`,

		`do = "loadbalancer member set --weight 1 'the pool' d"`: noMember,

		"on = \"b\"\ndo = \"stop http:81\"": `instance "b" does not serve http:81: it has http:80, echo:7`,

		"on = \"a\"\ndo = \"start http:80\"": `instance "a" does not serve http:80: it has none`,
	} {
		out, err := play(t, balanced+"\n[[step]]\n"+step+"\n")
		var faults file.Faults
		if !errors.As(err, &faults) || faults[0].Line == 0 || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%s: %v, want %q", step, err, want)
		}
	}
}

// The text tells a removed member that still has connections from the present ones.
func TestRemovedMembersAreListed(t *testing.T) {
	var b strings.Builder
	all := []router.LoadBalancer{{Listeners: []router.Listener{{
		Name: "vip",
		Pool: router.PoolStatus{Name: "p", Members: []router.MemberStatus{
			{Name: "one", OperatingStatus: router.Online},
			{Name: "two", OperatingStatus: router.Error},
			{Name: "one", OperatingStatus: router.Draining, Removed: true, Statistics: router.Statistics{Active: 3}},
		}},
	}}}}
	printStatus(all, &b)
	printStatistics(all, &b)
	for _, want := range []string{"1 of 2 members up",
		"member one: DRAINING (invalid AddrPort, weight 0) removed, 3 connections left\n",
		"member one, removed: active 3"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing from\n%s", want, b.String())
		}
	}
}
