package store_test

import (
	"fmt"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/control/store"
)

// many is a State of 20 000 objects.
func many(b *testing.B) *config.State {
	b.Helper()
	d := config.Empty().Edit()
	for i := range 20000 {
		d.Put(network(fmt.Sprint("n", i)))
	}
	s, faults := d.Check()
	if s == nil {
		b.Fatal(faults)
	}
	return s
}

// BenchmarkSave saves one change of a State of 20 000 objects.
func BenchmarkSave(b *testing.B) {
	for _, kind := range []string{"memory", "bolt"} {
		b.Run(kind, func(b *testing.B) {
			kv := store.Memory()
			if kind == "bolt" {
				var err error
				if kv, err = store.Bolt(b.TempDir()+"/state.db", store.BoltOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			objects := store.NewObjects(kv)
			if _, _, err := objects.Load(b.Context()); err != nil {
				b.Fatal(err)
			}
			s := many(b)
			if err := objects.Save(b.Context(), s); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				n := *s.Network(network("n7").ID)
				n.MTU = 1000 + i%1000
				d := s.Edit()
				d.Put(&n)
				s, _ = d.Check()
				b.StartTimer()
				if err := objects.Save(b.Context(), s); err != nil {
					b.Fatal(err)
				}
			}
			if err := kv.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkOpen opens the file of 20 000 objects, with all checks, and reads the objects.
func BenchmarkOpen(b *testing.B) {
	path := b.TempDir() + "/state.db"
	save := func(s *config.State) {
		kv, err := store.Bolt(path, store.BoltOptions{})
		if err != nil {
			b.Fatal(err)
		}
		objects := store.NewObjects(kv)
		list, _, err := objects.Load(b.Context())
		if err == nil && s != nil {
			err = objects.Save(b.Context(), s)
		} else if len(list) != 20000 && s == nil {
			b.Fatal(len(list))
		}
		if err != nil {
			b.Fatal(err)
		}
		if err := kv.Close(); err != nil {
			b.Fatal(err)
		}
	}
	save(many(b))
	for b.Loop() {
		save(nil)
	}
}
