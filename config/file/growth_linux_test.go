//go:build !race

package file_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/configtest"
	"github.com/taprouter/taprouter/config/file"
)

// effort is what the check of a text takes: processor time, and bytes allocated.
func (g growth) effort(t *testing.T, n int) (time.Duration, uint64) {
	check, err := file.Decoded(g.text(n))
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	took := configtest.Effort(func() { err = check() })
	runtime.ReadMemStats(&after)
	if g.valid != (err == nil) {
		t.Fatalf("%d: %.300v", n, err)
	}
	return took, after.TotalAlloc - before.TotalAlloc
}

// The effort of a check grows with the file, not with its square: for four times the entries
// it is less than ten times as high, where a square makes it sixteen times.
func TestGrowth(t *testing.T) {
	const n, times = 400, 10
	for _, g := range growths() {
		t.Run(g.name, func(t *testing.T) {
			var bytes uint64
			few, many, grows := configtest.Grows(times, func() (took time.Duration) {
				took, bytes = g.effort(t, n)
				return took
			}, func() time.Duration {
				took, more := g.effort(t, 4*n)
				if more > times*bytes+1<<20 {
					t.Fatalf("%d entries allocate %d KB, %d entries %d KB", n, bytes>>10, 4*n, more>>10)
				}
				return took
			})
			if grows {
				t.Errorf("%d entries take %v, %d entries %v", n, few, 4*n, many)
			}
		})
	}
}

// crowd is a State with n ports, each in a security group of its own with five rules.
func crowd(t *testing.T, n int) *config.State {
	t.Helper()
	d := config.Empty().Edit()
	id := func(kind config.Kind, i int) config.Meta {
		return config.Meta{ID: config.NameID(kind, strconv.Itoa(i)), Name: fmt.Sprint("a", i)}
	}
	network := config.Meta{ID: config.NameID(config.KindNetwork, "n"), Name: "n"}
	cidr := netip.MustParsePrefix("10.0.0.0/8")
	d.Put(config.DefaultSettings(), &config.Network{Meta: network, AdminStateUp: true},
		&config.Subnet{Meta: config.Meta{ID: config.NameID(config.KindSubnet, "n")}, Network: network.ID, CIDR: cidr,
			Gateway: config.FirstHost(cidr)})
	for i := range n {
		g := id(config.KindSecurityGroup, i)
		d.Put(&config.SecurityGroup{Meta: g, Stateful: true})
		for j := range 5 {
			port := uint16(80 + j)
			d.Put(&config.SecurityGroupRule{Meta: id(config.KindSecurityGroupRule, 5*i+j), Group: g.ID, Protocol: "tcp",
				Direction: config.Ingress, PortMin: &port, PortMax: &port})
		}
		d.Put(&config.Port{Meta: id(config.KindPort, i), Network: network.ID, AdminStateUp: true,
			SecurityGroups: []config.ID{g.ID}, FixedIPs: make([]config.FixedIP, 1)})
	}
	s, faults := d.Check()
	if s == nil {
		t.Fatal(faults)
	}
	return s
}

// The effort of an export, its reading and its plan grows with the State, not with its square: 20 000 objects take less
// than ten times as long as a quarter of them.
func TestExportGrowth(t *testing.T) {
	const times, n = 10, 20_000 / 7
	round := func(s *config.State) time.Duration {
		return configtest.Effort(func() {
			f, _ := exported(t, s)
			d := s.Edit()
			if _, err := f.Edit(d, file.Over{}); err != nil {
				t.Fatal(err)
			}
			next, faults := d.Check()
			if next == nil || len(config.Diff(s, next)) > 0 {
				t.Fatal("the export changes something", faults)
			}
		})
	}
	small, whole := crowd(t, n/4), crowd(t, n)
	few, many, grows := configtest.Grows(times, func() time.Duration { return round(small) },
		func() time.Duration { return round(whole) })
	t.Logf("%d objects take %v, a quarter of them %v", 7*n, many, few)
	if grows {
		t.Errorf("%d objects take %v, a quarter of them %v", 7*n, many, few)
	}
}
