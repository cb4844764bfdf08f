package tap

// OnThread is onThread.
var OnThread = onThread
