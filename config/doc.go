// Package config holds what one process serves: networks, routers, floating IPs, load balancers and their
// settings, as objects with IDs. A State is one consistent set of them. It is a value: once made it never
// changes, and versions share what they have in common. A Draft is a State with edits. Draft.Check
// chooses what the edits leave open (addresses, MACs, routers), checks what they touch, and gives the next State or
// a list of Faults. It is the one place that judges objects: files, programs and the API all go through it. Its work
// grows with what an edit touches, and not with its square. Diff says what has changed between two States.
//
// The package is pure: it has no goroutine, no clock, no lock and no I/O. config/file reads a State from
// TOML.
package config
