package ownership_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/ownership"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router/control/store"
)

const withUserData = `
[[network]]
name = "blue"
[[network.subnet]]
cidr = "10.1.0.0/24"
[metadata]
forward = "http://192.0.2.5:8775"
secret = "s3cret"
via = "host"
[[port]]
name = "vm"
network = "blue"
fixed_ip = "10.1.0.5"
user_data_file = "vm.yaml"
`

// A reload reads the files again that the topology file names. A restart takes what they say then, whatever the store
// has; and what the new file does not name any more is gone. The export applied is no change, and needs no file.
func TestUserDataOverReloadsAndRestarts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := func() *file.File {
		t.Helper()
		f, err := file.Open(filepath.Join(dir, "lab.toml"))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	has := func(d *daemon, want string) {
		t.Helper()
		p := d.control.State().Port(config.NameID(config.KindPort, "vm"))
		if got := string(p.Extra.UserDataOf()); got != want {
			t.Errorf("user data %q, want %q", got, want)
		}
	}
	kv := store.Memory()
	write("lab.toml", withUserData)
	write("vm.yaml", "first")
	d := start(t, open(), kv)
	has(d, "first")
	write("vm.yaml", "second")
	if r := d.apply(open(), ownership.ApplyOptions{}); len(r.Changes) != 1 {
		t.Errorf("changes %v", r.Changes)
	}
	has(d, "second")
	write("vm.yaml", "third")
	d = start(t, open(), kv)
	has(d, "third")
	var export strings.Builder
	if err := d.own.Export(&export); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(export.String(), `secret = "s3cret"`) || strings.Contains(export.String(), "user_data_file") {
		t.Errorf("export:\n%s", export.String())
	}
	if r := d.apply(read(t, "export", export.String()), ownership.ApplyOptions{}); len(r.Changes) != 0 {
		t.Errorf("the export is a change: %v", r.Changes)
	}
	write("lab.toml", strings.Replace(withUserData, "user_data_file = \"vm.yaml\"\n", "", 1))
	d = start(t, open(), kv)
	has(d, "")
}
