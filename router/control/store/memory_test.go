package store_test

import (
	"testing"

	"github.com/taprouter/taprouter/router/control/store"
	"github.com/taprouter/taprouter/router/control/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Suite{Open: func(*testing.T, string) store.Store { return store.Memory() }}.Run(t)
}
