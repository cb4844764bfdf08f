// Package config turns a topology file into a validated [Topology], the plain
// data that the rest of taprouter is built from.
//
// [Parse] and [Load] read TOML. A test harness may fill in a Topology by hand
// and call [Topology.Validate], which applies the same defaults and the same
// checks. Either way all faults are found in one go and come back as one
// [Faults] error, each with the line it is about.
//
// The way of a file through the package:
//
//	TOML text ── toml module ──> generic maps ── schema.go ──> Topology
//	     └────── lines.go ─────> line of every key                │
//	                                  └───────> Faults <── check*.go
//
// The text is decoded into generic maps first, so that a value of the wrong
// type is one fault among others and hides nothing behind it. The check then
// works on the Topology alone, which is why it serves hand-made ones as well.
//
// The package does no I/O beyond the reader or file it is given, keeps no
// state, starts no goroutine and decides nothing about what an engine supports:
// a valid topology may still hold what a given build refuses to serve.
package file
