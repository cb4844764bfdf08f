// Package e2e holds the end-to-end tests: the real binary on real devices, in
// network namespaces that each test makes and removes, against the tools that
// people use. They need root and Debian's tools (make test-deps). A test without
// one of them skips and names it; with CI=true that is a failure. Every test file is
// for Linux only, and says so in a build constraint.
package e2e
