package lab

import (
	"errors"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
)

// Two VLANs and a network without a tag on one device, with instances on both sides of it.
const trunk = `
[[physical_network]]
name = "default"
devices = ["raw:lo"]

[[network]]
name = "red"
physical_network = "default"
vlan = 100
  [[network.subnet]]
  cidr = "192.0.2.0/24"

[[network]]
name = "blue"
physical_network = "default"
vlan = 101
  [[network.subnet]]
  cidr = "198.51.100.0/24"

[[network]]
name = "plain"
physical_network = "default"
port_security = true
  [[network.subnet]]
  cidr = "203.0.113.0/24"

[[router]]
name = "middle"
interfaces = ["red", "blue", "plain"]

[[instance]]
name = "here"
network = "red"
address = "192.0.2.10"

[[instance]]
name = "there"
network = "red"
device = "raw:lo"
address = "192.0.2.11"
serve = ["echo:7"]

[[instance]]
name = "beside"
network = "red"
device = "raw:lo"
address = "192.0.2.12"

[[instance]]
name = "other"
network = "blue"
device = "raw:lo"
address = "198.51.100.10"
serve = ["http:80"]

[[port]]
name = "tied"
network = "plain"
mac = "02:00:00:00:00:0c"
fixed_ip = "203.0.113.10"
device = "raw:lo"

[[instance]]
name = "tied" # behind its port's device
network = "plain"
`

// see is a step with packets that it sees, or must not see.
func see(on, do, key, packet string) string {
	return "[[step]]\non = \"" + on + "\"\ndo = \"" + do + "\"\n" + key + " = [{ " + packet + " }]\n"
}

// Instances behind a device talk with the tag of their network, and with those of other networks by the router alone.
func TestTrunk(t *testing.T) {
	t.Parallel()
	out, err := tell(t, trunk+
		see("here", "ping 192.0.2.11", "sees", `device = "raw:lo", vlan = 100, src = "192.0.2.10", protocol = "ICMP"`)+
		see("here", "ping 192.0.2.11", "never", `device = "raw:lo", vlan = 101`)+
		see("there", "ping 198.51.100.10", "sees", `device = "raw:lo", vlan = 101, src = "192.0.2.11"`)+
		see("there", "ping 198.51.100.10", "sees", `device = "raw:lo", vlan = 100, dst = "198.51.100.10"`)+
		see("tied", "ping 192.0.2.10", "sees", `device = "raw:lo", src = "203.0.113.10"`)+
		see("tied", "curl http://198.51.100.10/", "sees", `device = "raw:lo", vlan = 101, src = "203.0.113.10"`)+
		steps("beside", "ping -c 1 192.0.2.11", "ttl=64")+
		// Both are known by now, so the device sees nothing of it.
		see("beside", "send 192.0.2.11:7 x", "never", `device = "raw:lo", vlan = 100, protocol = "UDP"`)+
		see("beside", "send 192.0.2.11:7 x", "never", `network = "red", protocol = "UDP"`)+
		steps("other", "!arping -w 0.2 192.0.2.11", "Received 0", "other", "!arping -w 0.2 203.0.113.10", "Received 0"))
	if err != nil {
		t.Errorf("error %v\n%s", err, out)
	}
	for _, want := range []string{"ok: on raw:lo: vlan 100, IP 192.0.2.10 > 192.0.2.11: ICMP echo request, seq 1",
		"ok: on raw:lo: nothing with vlan 101\n", "ok: on raw:lo: vlan 101, IP 203.0.113.10."} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
}

// A tag that was not there, and one that must not be there, fail a step.
func TestTagsCanFail(t *testing.T) {
	t.Parallel()
	for packet, want := range map[string]string{
		`sees = [{ device = "raw:lo", src = "192.0.2.10" }]`: "on raw:lo: nothing was seen without a tag " +
			"from 192.0.2.10",
		`sees = [{ device = "raw:lo", vlan = 101, src = "192.0.2.10" }]`: "on raw:lo: nothing was seen with vlan 101 " +
			"from 192.0.2.10; seen instead:\n    vlan 100, IP 192.0.2.10 > 192.0.2.11: ICMP echo request, seq 1\n",
		`never = [{ device = "raw:lo", vlan = 100 }]`: "on raw:lo, but must not be: vlan 100, IP 192.0.2.10",
	} {
		out, err := tell(t, trunk+"[[step]]\non = \"here\"\ndo = \"ping -c 1 192.0.2.11\"\n"+packet)
		if !errors.Is(err, ErrUnexpected) || !strings.Contains(out, want) {
			t.Errorf("%s: error %v\n%s", packet, err, out)
		}
	}
}

func TestFaultsOfDevices(t *testing.T) {
	const lone = "[[network]]\nname = \"n\"\ndevices = [\"tap:x\"]\nsubnet = [{ cidr = \"192.0.2.0/24\" }]\n" +
		"[[instance]]\nname = \"i\"\nnetwork = \"n\"\n"
	for text, want := range map[string]string{
		strings.Replace(trunk, `device = "raw:lo"`, `device = "raw:eth9"`, 1): `lesson.toml:39: instance "there": ` +
			`device raw:eth9 is none of network "red": there are raw:lo`,
		trunk + see("here", "ping 192.0.2.11", "sees", `device = "raw:eth9"`): `no network has the device raw:eth9: ` +
			`there are raw:lo`,
		lone + see("i", "ping 192.0.2.1", "sees", `device = "tap:x"`): `a lab opens devices if an instance is behind ` +
			`one: write device = "tap:x" in an [[instance]]`,
		lone + see("i", "ping 192.0.2.1", "sees", `network = "n"`): "",
	} {
		topo, err := file.Parse("lesson.toml", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		faults := Check(topo)
		if want == "" && len(faults) > 0 || want != "" && !strings.Contains(faults.Error(), want) {
			t.Errorf("got %v, want %q", faults, want)
		}
	}
}
