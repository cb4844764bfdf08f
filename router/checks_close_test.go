package router

import (
	"runtime"
	"testing"
	"time"

	"github.com/taprouter/taprouter/router/internal/monitor"
)

// Close waits for the results of checks that are on their way, and they wait for a change to end: neither may wait for
// the other.
func TestCloseWhileACheckEnds(t *testing.T) {
	e, err := Start(stateOf(t, tutorial()), Options{})
	if err != nil {
		t.Fatal(err)
	}
	e.checkWorkers = monitor.NewWorkers()
	began, goOn := make(chan bool), make(chan bool)
	e.checkWorkers.At(time.Now(), func() {
		close(began)
		<-goOn
		e.checked(nil, nil, 0, true, monitor.Result{})
	})
	<-began
	closed := make(chan bool)
	go func() {
		e.Close()
		close(closed)
	}()
	for !e.closed.Load() {
		runtime.Gosched()
	}
	close(goOn)
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("Close does not return")
	}
}
