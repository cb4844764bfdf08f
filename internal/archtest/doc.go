// Package archtest holds the tests that keep the picture in ARCHITECTURE.md
// true: which package imports what, and which are pure.
package archtest
