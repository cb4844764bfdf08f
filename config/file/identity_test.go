package file_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

const (
	one = `id = "00000000-0000-4000-8000-000000000001"`
	two = `id = "00000000-0000-4000-8000-000000000002"`
)

var idCases = []faultCase{
	{"no UUID", blue + `
[[router]]
name = "r"
id = "r1" #! router "r": id: "r1" is not a UUID such as ` + string(config.SettingsID) + `
[[router]]
name = "braces"
id = "{00000000-0000-4000-8000-000000000001}" #! router "braces": id: "{00000000-0000-4000-8000-000000000001}" is not a UUID such as ` + string(config.SettingsID) + `
[[router]]
name = "number"
id = 7 #! router "number": id must be a string, not 7`},
	{"taken", blue + one + `
[[port]]
name = "p"
network = "blue"
fixed_ip = "10.1.0.5"
` + one + ` #! port "p": id 00000000-0000-4000-8000-000000000001 is taken by subnet "blue" (line 5)
[[instance]]
name = "i"
network = "blue"
id = "00000000-0000-4000-8000-00000000000A"
[[pool]]
name = "w"
protocol = "TCP"
[[pool.member]]
address = "10.1.0.9"
port = 80
id = "00000000-0000-4000-8000-00000000000a" #! pool "w": member #1: id 00000000-0000-4000-8000-00000000000a is taken by instance "i" (line 13)`},
	{"made and taken", `
[[network]]
name = "azure"
id = "` + string(config.NameID(config.KindNetwork, "blue")) + `"
[[network]] #! network "blue": its id would be ` + string(config.NameID(config.KindNetwork, "blue")) + `, which is taken by network "azure" (line 2); give it an id of its own
name = "blue"`},
	{"of two ports", blue + `
[[network.subnet]]
cidr = "10.2.0.0/24"
[[router]]
name = "r"
interfaces = [{ network = "blue", ` + one + ` }] #! router "r": interface "blue": id is for one port, and the interface has 2 addresses; write { network, address, id } for each`},
}

// A table's ID depends on the keys that name the table, and on nothing else of the file.
func TestIDsStay(t *testing.T) {
	const text = web + `
[[port]]
name = "p"
network = "blue"
fixed_ip = "10.1.0.7"
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.7"
[[floating_ip]]
network = "ext"
[[floating_ip]]
network = "ext"
address = "203.0.113.9"
[[floating_ip.port_forwarding]]
protocol = "tcp"
external_port = 22
fixed_ip = "10.1.0.7"
port = 22
[[vip]]
name = "v"
network = "blue"
address = "10.1.0.11"
protocol = "TCP"
port = 80
pool = "web"
[[instance]]
name = "i"
network = "blue"
`
	ids := func(text string) []string {
		var all []string
		collectIDs(reflect.ValueOf(parse(t, text)), &all)
		slices.Sort(all)
		return all
	}
	want := ids(text)
	if n := len(slices.Compact(slices.Clone(want))); n != len(want) || n != 17 {
		t.Errorf("%d different of %d ids", n, len(want))
	}
	tables := strings.Split(strings.TrimSpace(text), "\n[[network]]")
	for name, text := range map[string]string{
		"lines in front":     "# a comment\n\n" + text,
		"networks reordered": "[[network]]" + tables[2] + "\n[[network]]" + tables[1] + "\n" + tables[0] + "\n",
		"other attributes":   strings.ReplaceAll(text, "external_port = 22", "external_port = 22\n# as SSH"),
		"a floating IP above": strings.Replace(text, "[[floating_ip]]",
			"[[floating_ip]]\nnetwork = \"ext\"\nfixed_ip = \"10.1.0.77\"\n[[floating_ip]]", 1),
		"upper case": strings.Replace(text, `"tcp"`, `"TCP"`, 1),
	} {
		if name == "networks reordered" {
			// The router and what follows stand behind the last network.
			rest := tables[2][strings.Index(tables[2], "[[router]]"):]
			text = "[[network]]" + tables[2][:len(tables[2])-len(rest)] + "[[network]]" + tables[1] + "\n" + tables[0] +
				"\n" + rest
		}
		got := ids(text)
		for _, id := range want {
			if !slices.Contains(got, id) {
				t.Errorf("%s: %s is gone", name, id)
			}
		}
	}
	renamed := ids(strings.ReplaceAll(text, `"web"`, `"www"`))
	if slices.Equal(renamed, want) {
		t.Error("a renamed pool has the ids that it had")
	}
}

// collectIDs lists the IDs in a topology.
func collectIDs(v reflect.Value, all *[]string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			collectIDs(v.Elem(), all)
		}
	case reflect.Slice:
		for i := range v.Len() {
			collectIDs(v.Index(i), all)
		}
	case reflect.Struct:
		for f, field := range v.Fields() {
			if f.Name == "ID" && field.String() != "" {
				*all = append(*all, field.String())
			} else if f.IsExported() {
				collectIDs(field, all)
			}
		}
	}
}

// An id that is given is the object's, and its children's IDs are made of it.
func TestGivenID(t *testing.T) {
	topology := parse(t, blue+one+"\n[[network]]\nname = \"x\"\n"+two+
		"\n[[network.subnet]]\ncidr = \"10.3.0.0/24\"\n")
	if id := topology.Networks[0].Subnets[0].ID; id != "00000000-0000-4000-8000-000000000001" {
		t.Errorf("subnet %v", id)
	}
	want := config.NameID(config.KindSubnet, "00000000-0000-4000-8000-000000000002", "10.3.0.0/24")
	if id := topology.Networks[1].Subnets[0].ID; id != want {
		t.Errorf("child of a given id %v, want %v", id, want)
	}
	if err := (&file.Topology{Networks: []file.Network{{Name: "n", ID: "x"}}}).Validate(); err == nil ||
		!strings.Contains(err.Error(), `network "n": id: "x" is not a UUID`) {
		t.Errorf("by hand: %v", err)
	}
}
