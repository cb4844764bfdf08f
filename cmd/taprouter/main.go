// An HTTPS check of a member verifies nothing, so it must not fail for what crypto/tls and
// crypto/x509 find too weak or too odd. Only a main package can say so to them. The tests of
// internal/monitor have the same settings.
//
//go:debug rsa1024min=0
//go:debug tlsmaxrsasize=16384
//go:debug tlssha1=1
//go:debug x509negativeserial=1

// Command taprouter runs virtual routers from a topology file.
//
// Everything it does is in the packages below; this one reads the command line,
// prints, and turns errors into exit statuses: 0 after SIGTERM, SIGINT or a
// lesson that went as expected, 2 for wrong usage or a wrong topology, 1 for
// anything else.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	// A second signal ends the process at once: its TAPs disappear with it all the same.
	context.AfterFunc(ctx, stop)
	dropRights = dropCapabilities
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}))
}
