package file_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// serviceCases are faults of what local services tell hosts, and of where they ask.
var serviceCases = []faultCase{
	{"name servers", blue + `
[dns]
forwards = ["9.9.9.9"] #! dns: unknown key "forwards"; did you mean "forward"?
forward = [
  "resolver", #! dns: forward[0]: "resolver" is no address of a name server, such as 9.9.9.9 or 9.9.9.9:53
  "9.9.9.9",
  "9.9.9.9:53", #! dns: forward[2] 9.9.9.9 is there already
  "9.9.9.9:0", #! dns: forward[3] 9.9.9.9 has no port; leave it out for 53
  "127.0.0.1", #! dns: forward[4] 127.0.0.1 is in 127.0.0.0/8, where no host can be; for this machine itself, via = "host"
  "0.0.0.0", #! dns: forward[5] 0.0.0.0 is no address of a server
  "2620:fe::fe", #! dns: forward[6] 2620:fe::fe: routers ask over IPv4 only; write an IPv4 address, or via = "host"
]
`},
	{"way to name servers", blue + `
[dns]
forward = ["127.0.0.53", "::1", "224.0.0.251"] #! dns: forward[2] 224.0.0.251 is no address of a server
via = "host"
[metadata]
via = "hosts" #! metadata: unknown via "hosts"; did you mean "host"?
forward = "http://10.0.0.5/"`},
	{"metadata service", blue + `
[metadata]
secret = 7 #! metadata: secret must be a string
forward = "10.0.0.5:8775" #! metadata: forward must be a URL, such as http://10.0.0.5:8775, not "10.0.0.5:8775"`},
	{"name of a metadata service", blue + `
[metadata]
forward = "http://nova:8775" #! metadata: forward names the host "nova": routers look up no names; write its IPv4 address, or via = "host"`},
	{"user of a metadata service", blue + `
[metadata]
forward = "http://me:pass@10.0.0.5" #! metadata: forward may have neither a user nor a query nor a fragment`},
	{"secret alone", blue + `
[metadata]
secret = "x" #! metadata: secret signs for a metadata service elsewhere; name it as forward, or leave the secret out`},
	{"empty values", blue + `
[metadata]
via = "" #! metadata: via is empty
forward = "" #! metadata: forward is empty
secret = "" #! metadata: secret is empty
[dns]
via = "" #! dns: via is empty`},
	{"search", `
[[network]]
name = "blue"
[[network.subnet]]
cidr = "10.1.0.0/24"
dns_search = [
  "lab.example.",
  "a b", #! subnet "blue": dns_search[1] "a b" is no domain, such as lab.example
  "", #! subnet "blue": dns_search[2] "" is no domain, such as lab.example
]`},
	{"instance", blue + `
[[port]]
name = "vm"
network = "blue"
fixed_ip = "10.1.0.5"
hostname = "-vm" #! port "vm": hostname "-vm" is no name of a host: at most 63 letters, digits and inner hyphens
ssh_keys = [
  "` + sshKey + `",
  "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIB1bnUyLuaF0yF0LpFzZ5rX5o1K6n9qE2lW0K8bX0Z3a", #! port "vm": ssh_keys[1] must be a line as in authorized_keys, such as "ssh-ed25519 AAAA... me@example"
  "two\nlines", #! port "vm": ssh_keys[2] must be a line as in authorized_keys, such as "ssh-ed25519 AAAA... me@example"
]
user_data = "#cloud-config" #! port "vm": user_data must be base64: illegal base64 data at input byte 0`},
	{"files of a text without a place", blue + `
[[port]]
name = "vm"
network = "blue"
fixed_ip = "10.1.0.5"
hostname = "" #! port "vm": hostname is empty
user_data_file = "/etc/hostname" #! port "vm": user_data_file names a file beside the topology file, and this text came from elsewhere; write its content as user_data, in base64
`},
}

// withUserData has a port whose user data are in a file.
const withUserData = `
[[network]]
name = "blue"
[[network.subnet]]
cidr = "10.1.0.0/24"
[[port]]
name = "vm"
network = "blue"
fixed_ip = "10.1.0.5"
user_data_file = "vm.yaml"
`

// placed writes files into a directory, and returns the path of the topology file there.
func placed(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "lab.toml")
}

func vmOf(t *testing.T, s *config.State) *config.Port {
	t.Helper()
	for p := range s.Ports() {
		return p
	}
	t.Fatal("there is no port")
	return nil
}

// The content of the file is in the State, also where it is no text. A file that has changed is a change.
func TestUserDataFile(t *testing.T) {
	path := placed(t, map[string]string{"lab.toml": withUserData, "vm.yaml": "a\xff\x00"})
	first, err := file.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	vm := vmOf(t, first.State())
	if got := string(vm.Extra.UserDataOf()); got != "a\xff\x00" {
		t.Errorf("user data %q", got)
	}
	if at, ok := first.Source(vm.Ref(), "user_data"); !ok || at.Line != 10 {
		t.Errorf("stated at %v, %v", at, ok)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "vm.yaml"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := file.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	d := first.State().Edit()
	if _, err := second.Edit(d, file.Over{Previous: first}); err != nil {
		t.Fatal(err)
	}
	next, _ := d.Check()
	lines := config.Describe(first.State(), next, config.Diff(first.State(), next))
	if len(lines) != 1 || len(lines[0].Attributes) != 1 || lines[0].Attributes[0].Name != "user_data" {
		t.Errorf("lines %v", lines)
	}
	if got := string(vmOf(t, next).Extra.UserDataOf()); got != "other" {
		t.Errorf("user data %q", got)
	}
	if kept, err := file.ReadKept("lab.toml", strings.NewReader(first.Text())); err != nil {
		t.Error(err)
	} else if !kept.Declares(vm.Ref()) || vmOf(t, kept.State()).Extra != nil {
		t.Error("a text that was kept has read a file")
	}
}

// What stands in the way is said with the line that names the file.
func TestUserDataFileFaults(t *testing.T) {
	for _, c := range []struct{ name, content, extra, want string }{
		{"missing.yaml", "", "", "no such file"},
		{"empty.yaml", "", "", "empty.yaml is empty"},
		{"large.yaml", strings.Repeat("x", config.MaxUserData+1), "", "more than the 65535 bytes"},
		{".", "", "", "is no regular file"},
		{"fits.yaml", strings.Repeat("x", config.MaxUserData), "user_data = \"AA==\"\n",
			"user_data is instead of user_data_file"},
	} {
		files := map[string]string{"lab.toml": strings.Replace(withUserData, "vm.yaml", c.name, 1) + c.extra}
		if c.name != "missing.yaml" && c.name != "." {
			files[c.name] = c.content
		}
		path := placed(t, files)
		_, err := file.Open(path)
		line := ":10: port \"vm\": "
		if c.extra != "" {
			line = ":11: port \"vm\": "
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path+line) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// Neither a secret nor user data are in what is said of a change.
func TestSecretsAreNotShown(t *testing.T) {
	text := func(secret, data string) string {
		return blue + "[metadata]\nforward = \"http://192.0.2.5\"\nsecret = \"" + secret + "\"\n" + `[[port]]
name = "vm"
network = "blue"
fixed_ip = "10.1.0.5"
user_data = "` + base64.StdEncoding.EncodeToString([]byte(data)) + `"
`
	}
	from, to := read(t, text("first-key", "password=1")).State(), read(t, text("other-key", "password=2")).State()
	var all strings.Builder
	for _, l := range config.Describe(from, to, config.Diff(from, to)) {
		all.WriteString(l.String())
	}
	encoded := base64.StdEncoding.EncodeToString([]byte("pass"))
	for _, hidden := range []string{"first-key", "other-key", "password", encoded} {
		if strings.Contains(all.String(), hidden) {
			t.Errorf("%q is in %s", hidden, all.String())
		}
	}
	for _, shown := range []string{"metadata.secret", "user_data"} {
		if !strings.Contains(all.String(), shown) {
			t.Errorf("%q is not in %s", shown, all.String())
		}
	}
}
