package tap

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
