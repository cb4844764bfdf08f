// Package archtest holds the tests that keep the picture in ARCHITECTURE.md
// true: which package imports what, which are pure, and that no type of the router does everything.
package archtest
