// An HTTPS check of a member verifies nothing, so it must not fail for what crypto/tls and
// crypto/x509 find too weak or too odd. Only a main package can say so to them. The tests of
// router/internal/monitor have the same settings.
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
// anything else. While `check` or `lab` read their file, a signal ends them as it
// ends any program.
package main

import (
	"context"
	"os"
)

func main() {
	dropRights = dropCapabilities
	os.Exit(run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}
