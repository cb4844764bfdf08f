//go:build !linux

package main

// dropCapabilities does nothing: only Linux has capabilities, and devices.
func dropCapabilities([]string) error { return nil }
