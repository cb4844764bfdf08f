package serve

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerOf asks the kernel which process has connected.
func peerOf(c net.Conn) (peer, bool) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return peer{}, false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return peer{}, false
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || failed != nil {
		return peer{}, false
	}
	return peer{uid: int(cred.Uid), pid: int(cred.Pid)}, true
}
