package store_test

import (
	"os"
	"syscall"
)

// ownFileSystem gives a process mounts of its own, and the right to make some.
func ownFileSystem() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// mountSmall mounts a file system of half a megabyte.
func mountSmall(folder string) error {
	return os.NewSyscallError("mount", syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=512k"))
}
