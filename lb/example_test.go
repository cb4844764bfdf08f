package lb_test

import (
	"fmt"
	"time"

	"github.com/taprouter/taprouter/lb"
)

func Example() {
	pool := lb.NewPool(lb.Config{}, []lb.Member{
		{ID: 1, Port: 80, Weight: 2, AdminStateUp: true, Healthy: true},
		{ID: 2, Port: 80, Weight: 1, AdminStateUp: true, Healthy: true},
	})
	for k := range 6 {
		client, now := lb.Client{Addr: lb.Addr(0x0a000000 + k%2), Port: uint16(1000 + k)}, time.Duration(k)*time.Second
		m, ok := pool.Pick(client, now, nil)
		fmt.Println(m.ID, ok)
		pool.Commit(client, m.ID, now) // the connection was made
	}
	fmt.Println(pool.Active(1), pool.Active(2))
	// Output:
	// 1 true
	// 2 true
	// 1 true
	// 1 true
	// 2 true
	// 1 true
	// 4 2
}

// A client's connections go to the same member until it has had none for a while.
func Example_persistence() {
	pool := lb.NewPool(lb.Config{Persistence: time.Minute}, []lb.Member{
		{ID: 1, Port: 80, Weight: 1, AdminStateUp: true, Healthy: true},
		{ID: 2, Port: 80, Weight: 1, AdminStateUp: true, Healthy: true},
	})
	client := lb.Client{Addr: 0x0a000001, Port: 1000}
	for _, now := range []time.Duration{0, 50 * time.Second, 100 * time.Second, 160 * time.Second} {
		m, _ := pool.Pick(client, now, nil)
		fmt.Println(now, m.ID)
		pool.Commit(client, m.ID, now)
		pool.End(client, m.ID, now)
	}
	// Output:
	// 0s 1
	// 50s 1
	// 1m40s 1
	// 2m40s 2
}
