// Package control changes a running router. A Control is the one writer of what the router serves: files, APIs, lessons
// and Go programs all make their changes through it, one after the other, so that all obey the same rules.
//
// A change is a transaction. Edit gives its caller a Draft of what is served, checks what the caller has made of it,
// prepares it in the engine, has it stored, and commits it. Whatever fails before the commit leaves everything as it
// was. The other methods are edits that people often make, in the words of OpenStack's client: floating IPs are
// created, associated, moved and deleted; members of pools come, go, and are weighed.
//
// When a method returns without an error, new connections obey. What becomes of the others is what [config.Effects]
// says of each change.
package control
