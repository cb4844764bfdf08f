package archtest

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/taprouter/taprouter"

// A pkg is what go list says of one package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	CgoFiles   []string
	Imports    []string
	Standard   bool
}

// packages lists the packages of the module.
func packages(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,CgoFiles,Imports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")] = p
	}
}

// allowed is what each package may import beside the standard library: packages
// of ours by their path in the module, others by their module's. A package that
// is not here must not exist.
var allowed = map[string][]string{
	"config":            {"github.com/google/uuid", "github.com/tidwall/btree"},
	"config/configtest": {"config", "golang.org/x/sys"},
	"config/file":       {"config", "github.com/BurntSushi/toml"},
	"tap": {"tap/virtio", "github.com/songgao/water", "github.com/vishvananda/netlink",
		"golang.org/x/sys"},
	"tap/virtio":              {"gvisor.dev/gvisor/pkg/tcpip/checksum"},
	"tap/taptest":             {"tap"},
	"nat":                     {"internal/addrmap", "internal/conntrack", "internal/packet"},
	"lb":                      {"internal/packet"},
	"internal/addrmap":        {"internal/packet"},
	"internal/packet":         {"tap/virtio", "github.com/google/gopacket", "gvisor.dev/gvisor/pkg/tcpip/checksum"},
	"internal/neighbor":       {"internal/packet"},
	"router/internal/monitor": {"lb", "router/host"},
	"internal/nettest":        {"internal/packet", "github.com/google/gopacket"},
	"internal/dns":            {"github.com/miekg/dns"},
	"internal/metadata":       {},
	"internal/archtest":       {},
	"internal/dhcp":           {"github.com/insomniacslk/dhcp"},
	"internal/e2e":            {},
	"internal/lab": {"config", "config/file", "router", "router/control", "router/host", "tap", "internal/packet",
		"github.com/miekg/dns", "github.com/rivo/uniseg"},
	"router": {"config", "tap", "lb", "nat", "internal/conntrack", "internal/dhcp", "internal/neighbor",
		"internal/packet",
		"router/host",
		"router/internal/verdict", "router/internal/loop", "router/internal/wire", "router/internal/ip",
		"router/internal/monitor", "router/internal/arena", "router/internal/snapshot",
		"router/internal/service", "internal/dns", "internal/metadata"},
	"router/internal/service": {"router/internal/wire", "router/internal/loop", "router/internal/verdict", "tap",
		"internal/dhcp", "internal/packet", "gvisor.dev/gvisor"},
	"router/internal/arena":    {"internal/conntrack", "golang.org/x/sys"},
	"router/internal/snapshot": {"nat", "internal/conntrack", "internal/neighbor", "internal/packet"},
	"router/internal/verdict":  {},
	"internal/gro":             {"internal/packet", "tap", "tap/virtio", "gvisor.dev/gvisor/pkg/tcpip/checksum"},
	"router/internal/loop": {"router/internal/verdict", "tap", "tap/virtio", "internal/packet", "internal/gro",
		"golang.org/x/sys"},
	"router/internal/wire": {"router/internal/loop", "router/internal/verdict", "tap", "tap/virtio",
		"internal/addrmap", "internal/packet"},
	"router/internal/ip": {"router/internal/arena",
		"router/internal/wire", "router/internal/loop", "router/internal/verdict", "tap", "nat",
		"lb", "internal/conntrack", "internal/neighbor", "internal/addrmap", "internal/packet",
		"github.com/gaissmai/bart"},
	"router/control": {"config", "router"},
	"router/control/store": {"config", "internal/dhcp", "github.com/tidwall/btree",
		"go.etcd.io/bbolt"},
	"router/control/store/storetest": {"router/control/store"},
	"router/host":                    {"tap", "tap/virtio", "gvisor.dev/gvisor", "github.com/insomniacslk/dhcp"},
	"router/routertest":              {"config/file", "router", "router/control", "router/host"},
	"router/conform": {"config", "config/file", "router", "router/control", "tap", "tap/virtio",
		"internal/packet", "internal/nettest",
		"github.com/vishvananda/netlink", "github.com/vishvananda/netns", "golang.org/x/sys"},
	"cmd/taprouter/internal/client": {"github.com/alecthomas/kong", "github.com/jedib0t/go-pretty/v6",
		"go.yaml.in/yaml/v4", "golang.org/x/sys"},
	"cmd/taprouter/internal/neutron":   {"config", "router", "router/control", "github.com/google/uuid"},
	"cmd/taprouter/internal/native":    {"config", "config/file", "router", "router/control"},
	"cmd/taprouter/internal/metrics":   {"config", "router", "github.com/prometheus/client_golang"},
	"cmd/taprouter/internal/serve":     {"github.com/google/uuid", "golang.org/x/sys", "golang.org/x/time"},
	"cmd/taprouter/internal/identity":  {"config", "cmd/taprouter/internal/serve"},
	"cmd/taprouter/internal/ownership": {"config", "config/file", "router/control", "router/control/store"},
	"cmd/taprouter": {"config", "config/file", "router", "router/conform", "router/control", "router/control/store",
		"tap", "internal/lab", "cmd/taprouter/internal/client", "cmd/taprouter/internal/identity",
		"cmd/taprouter/internal/metrics", "cmd/taprouter/internal/native", "cmd/taprouter/internal/neutron",
		"cmd/taprouter/internal/ownership", "cmd/taprouter/internal/serve",
		"github.com/alecthomas/kong", "github.com/coreos/go-systemd/v22/activation",
		"github.com/coreos/go-systemd/v22/daemon",
		"golang.org/x/sys", "kernel.org/pub/linux/libs/security/libcap/cap"},

	"internal/conntrack": {"internal/packet"},
}

func TestImports(t *testing.T) {
	for name, p := range packages(t) {
		may, known := allowed[name]
		if !known {
			t.Errorf("package %q is not in the picture: add it to ARCHITECTURE.md and here", name)
			continue
		}
		for _, imp := range p.Imports {
			inside := strings.TrimPrefix(imp, module+"/")
			if !strings.Contains(strings.Split(imp, "/")[0], ".") {
				continue // the standard library
			}
			if !slices.ContainsFunc(may, func(a string) bool {
				return inside == a || strings.HasPrefix(imp, a+"/") ||
					imp == a
			}) {
				t.Errorf("%s imports %s", name, imp)
			}
		}
		if len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo: %v", name, p.CgoFiles)
		}
	}
}

// pure are the packages without goroutine, clock, lock, I/O or global randomness.
var pure = []string{"config", "nat", "internal/addrmap", "internal/conntrack", "lb", "internal/neighbor"}

// impure are what a pure package may not call; a "*" stands for everything.
var impure = map[string][]string{
	"time":         {"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"},
	"sync":         {"*"},
	"sync/atomic":  {"*"},
	"os":           {"*"},
	"net":          {"*"},
	"log":          {"*"},
	"log/slog":     {"*"},
	"math/rand/v2": {"Int", "IntN", "Uint32", "Uint64", "Float64", "N", "Perm", "Shuffle"},
	"crypto/rand":  {"*"},
}

func TestPurePackages(t *testing.T) {
	all := packages(t)
	for _, name := range pure {
		p := all[name]
		if len(p.GoFiles) == 0 {
			t.Errorf("package %q has no files", name)
		}
		for _, file := range p.GoFiles {
			checkPure(t, filepath.Join(p.Dir, file))
		}
	}
}

func checkPure(t *testing.T, path string) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	forbidden := map[string][]string{} // by the name the file knows the package under
	for _, imp := range f.Imports {
		p := strings.Trim(imp.Path.Value, `"`)
		if names, ok := impure[p]; ok {
			base := strings.TrimSuffix(p, "/v2")
			forbidden[base[strings.LastIndex(base, "/")+1:]] = names
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%v: a goroutine", fset.Position(n.Pos()))
		case *ast.SelectorExpr:
			id, ok := n.X.(*ast.Ident)
			if names := forbidden[ident(id, ok)]; slices.Contains(names, n.Sel.Name) || slices.Contains(names, "*") {
				t.Errorf("%v: %s.%s", fset.Position(n.Pos()), id.Name, n.Sel.Name)
			}
		}
		return true
	})
}

func ident(id *ast.Ident, ok bool) string {
	if !ok {
		return ""
	}
	return id.Name
}

// What needs no Linux builds elsewhere, and nothing needs cgo.
func TestBuildsElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("builds for other platforms")
	}
	for _, target := range []string{"darwin", "linux"} { // windows: make check
		args := []string{"build", "-o", os.DevNull}
		if target == "linux" {
			args = append(args, module+"/cmd/taprouter")
		} else {
			args = []string{"build"}
			for _, name := range []string{"config/file", "tap", "nat", "lb", "router", "router/host",
				"router/routertest", "internal/lab", "router/internal/monitor"} {
				args = append(args, module+"/"+name)
			}
		}
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "GOOS="+target, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", target, err, out)
		}
	}
}
