package tap

// OnThread is onThread.
var OnThread = onThread

// OpenRawRing is openRaw.
var OpenRawRing = openRaw
