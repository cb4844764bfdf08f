package file_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
)

// A few lines can stand for a product that no memory holds, and a number of 16 bits for too few
// interfaces. Both are refused at the line where the bound is exceeded.
func TestProducts(t *testing.T) {
	lines := func(n int, f string) string { return many(n, "", tables(f+"\n")) }
	for name, c := range map[string]struct {
		text, want string
		line       int
	}{
		"interfaces": {
			wide + "[[router]]\nname = \"r\"\ninterfaces = [\n" +
				many(65534, "", func(int) string { return "\"wide\",\n" }) + "]\n",
			`router "r": a router has at most 65533 interfaces, this one has 65534`, 4 + 3 + 65534,
		},
		"devices of labels": {
			"[[physical_network]]\nname = \"l\"\ndevices = [" + many(1024, ",", tables(`"tap:d%d"`)) + "]\n" +
				lines(257, "[[network]]\nname = \"n%[1]d\"\nvlan = 1%03[1]d\nphysical_network = \"l\""),
			`network "n256": the networks have more than 262144 devices from physical networks`, 3 + 257*4,
		},
		"subnets of routers": {
			subnets(1000, bareOut, "") + lines(263,
				"[[router]]\nname = \"r%d\"\ninterfaces = []\ngateway = { network = \"a\" }"),
			`router "r262": gateway: the routers are connected to more than 262144 subnets, each counted for each ` +
				`router`, 3 + 2000 + 263*4,
		},
		"members of VIPs": {
			wide + "[[pool]]\nname = \"p\"\nprotocol = \"TCP\"\nmember = [" + many(5000, ",", func(i int) string {
				return fmt.Sprintf("{ address = %q, port = 80 }", nth(i+5))
			}) + "]\n" + lines(210, "[[vip]]\nname = \"v%d\"\nnetwork = \"wide\"\naddress = \"10.3.0.0\"\n"+
				"protocol = \"TCP\"\nport = 80\npool = \"p\""),
			`VIP "v209": the VIPs have more than 1048576 members, with those of a pool counted for each of its VIPs`,
			4 + 4 + 210*7,
		},
	} {
		_, err := file.Parse("f", strings.NewReader(c.text))
		want := fmt.Sprintf("f:%d: %s", c.line, c.want)
		if err == nil || !strings.Contains(err.Error()+"\n", want+"\n") {
			t.Errorf("%s: no %q in %.300v", name, want, err)
		}
	}
}

// The longest list and the longest name that a message repeats.
func TestLongMessages(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct{ text, want string }{
		"subnets": {
			bare + many(17, "", tables("[[network.subnet]]\ncidr = \"10.%d.0.0/16\"\n")) +
				"[[port]]\nname = \"p\"\nnetwork = \"a\"\nfixed_ip = \"11.0.0.1\"\n",
			"10.14.0.0/16, 10.15.0.0/16 and more",
		},
		"all subnets": {
			bare + many(16, "", tables("[[network.subnet]]\ncidr = \"10.%d.0.0/16\"\n")) +
				"[[port]]\nname = \"p\"\nnetwork = \"a\"\nfixed_ip = \"11.0.0.1\"\n",
			"10.14.0.0/16, 10.15.0.0/16",
		},
		"a name": {
			"[[network]]\nname = \"" + long + "\"\nmtu = 5\n", `network "` + long[:255] +
				`...": mtu 5 is not from 576 to 9216`,
		},
		"an argument": {wide + "host = \"" + long + "\"\n", ""},
	} {
		_, err := file.Parse("f", strings.NewReader(c.text))
		if err == nil || !strings.HasSuffix(err.Error(), c.want) || len(err.Error()) > 10_000 {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}
