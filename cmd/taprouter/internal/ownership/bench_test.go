package ownership_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/ownership"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
	"github.com/taprouter/taprouter/router/control/store"
)

// many is a file of ports.
func many(n int) string {
	var b strings.Builder
	b.WriteString("[[network]]\nname = \"blue\"\n[[network.subnet]]\ncidr = \"10.0.0.0/8\"\n")
	for i := range n {
		fmt.Fprintf(&b, "[[port]]\nname = \"p%d\"\nnetwork = \"blue\"\nfixed_ip = \"10.1.%d.%d\"\n", i, i/250, 1+i%250)
	}
	return b.String()
}

// still is an engine that does nothing, so that only the Control's own work is measured.
type still struct{ state *config.State }

func (e *still) State() *config.State { return e.state }

func (e *still) Prepare(_ context.Context, to *config.State) (control.Prepared, error) {
	return &coming{e, to}, nil
}

type coming struct {
	e  *still
	to *config.State
}

func (c *coming) Counts() []router.Count { return nil }
func (c *coming) Commit()                { c.e.state = c.to }
func (c *coming) Discard()               {}

// One change of a program, with the question what the file states and a store in memory.
func BenchmarkEdit(b *testing.B) {
	for _, n := range []int{2000, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := read(b, "f", many(n))
			own, err := ownership.Start(b.Context(), f, ownership.Options{Store: store.Memory()})
			if err != nil {
				b.Fatal(err)
			}
			c := control.NewFor(&still{own.State()}, control.Options{Store: own.Store})
			if err := own.Serve(b.Context(), c); err != nil {
				b.Fatal(err)
			}
			p := *c.State().Port(config.NameID(config.KindPort, "p7"))
			i := 0
			for b.Loop() {
				i++
				q := p
				q.Description = fmt.Sprint(i)
				_, err := c.Edit(b.Context(), func(d *config.Draft) error {
					if _, ok := own.Stated(q.Ref(), "description"); ok {
						b.Fatal("stated")
					}
					d.Put(&q)
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
