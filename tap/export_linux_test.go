package tap

import "time"

// OnThread is onThread.
var OnThread = onThread

// OpenRawRing is openRaw.
var OpenRawRing = openRaw

// ChangeRing runs fn as if it changed a raw device's ring.
func ChangeRing(d Device, fn func()) {
	raw := d.(*rawDevice)
	raw.reading.Lock()
	defer raw.reading.Unlock()
	raw.change(fn)
}

// RingPauses is what jams cost a device that has been jammed after working for so long each
// time.
func RingPauses(worked ...time.Duration) (pauses []time.Duration) {
	var w ringWatcher
	now := time.Unix(0, 0)
	w.since = now
	for _, d := range worked {
		now = now.Add(d)
		w.jammed(now)
		now = now.Add(w.pause)
		w.since = now
		pauses = append(pauses, w.pause)
	}
	return pauses
}

// RingWaits is how long a ring is left alone after each of some looks, by whether frames had
// come before it.
func RingWaits(came ...bool) (waits []time.Duration) {
	w := ringWatcher{wait: ringWatch}
	for _, any := range came {
		waits = append(waits, w.pace(any))
	}
	return waits
}

// RingWait is how often a device's ring is looked at.
func RingWait(d Device) time.Duration {
	raw := d.(*rawDevice)
	raw.reading.Lock()
	defer raw.reading.Unlock()
	return raw.watcher.wait
}
