// Package file reads topology files. A file is a set of objects for a State of package config, and perhaps a lesson.
//
// [Open] and [Read] read TOML and give a [File]. File.State is the State that the file makes alone. File.Edit puts the
// file over a State that is there already: it adds, changes and takes away what the file owns, and nothing else.
// All faults are found in one go and come back as one [Faults] error, each with the line that it is about.
//
// The way of a file through the package:
//
//	TOML text ── toml module ──> generic maps ── schema.go ──> Topology ── objects.go ──> config.Draft
//	     └────── lines.go ─────> line of every key                │                           │
//	                                  └───────> Faults <── check*.go      <── state.go <── Draft.Check
//
// [config.Draft.Check] finds the faults of addresses, references, claims and limits, for files as for programs.
// The checks here are about the file: names are there and refer to something, each name is there once, a zero that is
// written is not taken for a default, and a lesson can be played. state.go gives the faults of both their lines.
// fill.go writes back into the Topology what the State has chosen.
//
// The text is decoded into generic maps first, so that a value of the wrong
// type is one fault among others and hides nothing behind it. identity.go gives every table that stands for an object
// its ID. The ID is the table's id, or else is made of the keys that name the object.
//
// A [Topology] is the tables of a file as plain data, with every default and choice filled in. [Parse] and [Load] give
// it alone. A test harness may fill in a Topology by hand. Topology.State checks it and gives its objects;
// [Topology.Validate] checks it and writes the defaults and choices into it.
//
// The package does no I/O beyond the reader or file it is given, keeps no
// state, starts no goroutine and decides nothing about what an engine supports:
// a valid topology may still hold what a given build refuses to serve.
package file
