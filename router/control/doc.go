// Package control changes a running router. A Control is the one writer of what the router serves: files, APIs, lessons
// and Go programs all make their changes through it, one after the other, so that all obey the same rules.
//
// A change is a transaction. Edit gives its caller a Draft of the served State, and checks the Draft when the caller
// has edited it. Then Edit prepares the change in the engine, has it stored, and commits it. A step that fails before
// the commit leaves everything as it was. The other methods are edits that people often make, in the words of
// OpenStack's client: floating IPs are created, associated, moved and deleted; a router's gateway, interfaces and
// routes come and go; members of pools come, go, and are weighed.
//
// When a method returns without an error, new connections follow the change. [config.Effects] says what becomes of the
// others.
package control
