package control_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/control"
	"github.com/taprouter/taprouter/router/control/store"
)

// BenchmarkKept makes changes of ports on a network with many of them, which are kept on a disk, by several writers.
// One by one, a writer waits for the answer of the one before: each change is written by itself then.
func BenchmarkKept(b *testing.B) {
	for _, k := range []struct {
		writers  int
		oneByOne bool
	}{{1, false}, {8, true}, {8, false}, {32, true}, {32, false}} {
		name := fmt.Sprintf("%d writers", k.writers)
		if k.oneByOne {
			name += " one by one"
		}
		b.Run(name, func(b *testing.B) { kept(b, k.writers, k.oneByOne) })
	}
}

func kept(b *testing.B, writers int, oneByOne bool) {
	d := config.Empty().Edit()
	n := config.Network{Meta: config.Meta{ID: config.NameID(config.KindNetwork, "n"), Name: "n"}}
	d.Put(&n)
	port := func(i int) config.Port {
		return config.Port{Meta: config.Meta{ID: config.NameID(config.KindPort, fmt.Sprint(i))}, Network: n.ID}
	}
	for i := range 20000 {
		p := port(i)
		d.Put(&p)
	}
	s, faults := d.Check()
	if s == nil {
		b.Fatal(faults)
	}
	kv, err := store.Bolt(filepath.Join(b.TempDir(), "state.db"), store.BoltOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer kv.Close() //nolint:errcheck // nobody opens it again
	objects := store.NewObjects(kv)
	if _, _, err := objects.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := objects.Save(b.Context(), s); err != nil {
		b.Fatal(err)
	}
	writes := 0
	c := control.NewFor(&fake{state: s}, control.Options{Store: func(ctx context.Context,
		changes []*control.Report) error {
		writes++
		list := make([]store.Transition, 0, len(changes))
		for _, r := range changes {
			list = append(list, store.Transition{From: r.From, To: r.To, Changes: r.Changes})
		}
		_, err := objects.SaveEach(ctx, list)
		return err
	}})
	var made atomic.Int64
	var turn sync.Mutex
	var all sync.WaitGroup
	b.ResetTimer()
	for w := range writers {
		all.Go(func() {
			p := port(w)
			for i := made.Add(1); i <= int64(b.N); i = made.Add(1) {
				q := p
				q.Description = fmt.Sprint(i)
				if oneByOne {
					turn.Lock()
				}
				_, err := c.Edit(b.Context(), func(d *config.Draft) error {
					d.Put(&q)
					return nil
				})
				if oneByOne {
					turn.Unlock()
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
	b.ReportMetric(float64(writes)/float64(b.N), "writes/change")
}
