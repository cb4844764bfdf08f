package ownership_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/control/store"
)

// A full disk refuses changes of programs, and loses none that was acknowledged. The test runs in a process with a file
// system of half a megabyte of its own.
func TestFullDisk(t *testing.T) {
	const inside = "TAPROUTER_FULL_FOLDER"
	if folder := os.Getenv(inside); folder != "" {
		fillDisk(t, folder)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || bytes.Contains(out, []byte("--- SKIP")) {
		t.Skipf("no file system of its own is to be had here: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fillDisk(t *testing.T, folder string) {
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=512k"); err != nil {
		t.Skip(err)
	}
	path := filepath.Join(folder, "state.db")
	kv, err := store.Bolt(path, store.BoltOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := start(t, read(t, "lab.toml", lab), kv)
	refused, made := 0, 0
	for i := range 200 {
		p := vm(fmt.Sprint("vm", i), fmt.Sprint("10.1.0.", 20+i))
		p.Description = strings.Repeat("x", 4000)
		before := d.control.State()
		_, err := d.control.Edit(t.Context(), func(draft *config.Draft) error {
			draft.Put(p)
			return nil
		})
		switch {
		case err == nil:
			made++
		case !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "cannot be kept"):
			t.Fatal(err)
		case d.control.State() != before:
			t.Fatal("a refused change was made")
		default:
			refused++
		}
	}
	if made < 10 || refused < 10 {
		t.Errorf("%d made, %d refused: the test tests little", made, refused)
	}
	want := d.control.State()
	if err := kv.Close(); err != nil {
		t.Error(err)
	}
	if kv, err = store.Bolt(path, store.BoltOptions{}); err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	d = start(t, read(t, "lab.toml", lab), kv)
	if diff := config.Diff(want, d.control.State()); len(diff) > 0 {
		t.Errorf("lost: %+v", diff)
	}
}
