//go:build !race

package tap_test

const raceDetector = false
