package file_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// rare has a subnet, a load balancer and its listener; the texts are further keys of the subnet and of the listener.
func rare(subnet, vip string) string {
	return "[[network]]\nname = \"blue\"\n[[network.subnet]]\ncidr = \"10.1.0.0/24\"\n" + subnet +
		"[[loadbalancer]]\nname = \"lb\"\nnetwork = \"blue\"\naddress = \"10.1.0.7\"\n" +
		"[[vip]]\nname = \"v\"\nloadbalancer = \"lb\"\nprotocol = \"TCP\"\nport = 80\n" + vip
}

// A list of pools that is written and empty means none. Programs may say the same beside a file that says nothing.
func TestNoPools(t *testing.T) {
	none := readFile(t, rare("allocation_pools = []\n", ""))
	open := readFile(t, rare("", ""))
	some := readFile(t, rare("allocation_pools = [\"10.1.0.20-10.1.0.29\"]\n", ""))
	pools := func(s *config.State) string {
		for u := range s.Subnets() {
			return fmt.Sprint(u.AllocationPools)
		}
		return "there is no subnet"
	}
	const whole, ten = "[10.1.0.2-10.1.0.254]", "[10.1.0.20-10.1.0.29]"
	for f, want := range map[*file.File]string{none: "[]", open: whole, some: ten} {
		if got := pools(f.State()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for u := range none.State().Subnets() {
		if at, ok := none.Source(u.Ref(), "allocation_pools"); !ok || at.Line != 5 {
			t.Errorf("at %+v, %v", at, ok)
		}
	}
	byProgram := byAPI(t, open.State(), func(d *config.Draft) {
		for o := range open.State().Subnets() {
			u := *o
			u.AllocationPools, u.Extra = nil, &config.SubnetExtra{NoPools: true}
			d.Put(&u)
		}
	})
	for _, x := range []struct {
		name         string
		s            *config.State
		before, f    *file.File
		want, notice string
	}{
		{"a program's, beside the file", byProgram, open, open, "[]", "[]"},
		{"a program's, taken over", byProgram, open, some, ten,
			`allocation_pools was set to [] by the API; the file says [10.1.0.20-10.1.0.29] now`},
		{"a program's, said by the file, too", byProgram, open, none, "[]", "[]"},
		{"the file's, not said any more", none.State(), none, open, whole, "[]"},
		{"the file's, other ones", none.State(), none, some, ten, "[]"},
		{"the file's, none now", some.State(), some, none, "[]", "[]"},
	} {
		next, notices := editIn(t, x.s, x.f, file.Over{Previous: x.before})
		if got := pools(next); got != x.want || !strings.Contains(notices, x.notice) {
			t.Errorf("%s: %s, want %s; %s", x.name, got, x.want, notices)
		}
	}
}

// A listener keeps the timeouts of a proxy in milliseconds, 0 among them.
func TestProxyTimeouts(t *testing.T) {
	f := readFile(t, rare("", "timeout_member_connect = \"5s\"\ntimeout_tcp_inspect = \"0s\"\n"))
	other := readFile(t, rare("", "timeout_member_connect = \"1500ms\"\n"))
	open := readFile(t, rare("", ""))
	extra := func(s *config.State) config.ListenerExtra {
		for l := range s.Listeners() {
			if l.Extra != nil {
				return *l.Extra
			}
		}
		return config.ListenerExtra{}
	}
	if got, want := extra(f.State()), (config.ListenerExtra{MemberConnect: 5001, TCPInspect: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	byProgram := byAPI(t, open.State(), func(d *config.Draft) {
		for o := range open.State().Listeners() {
			l := *o
			l.Extra = &config.ListenerExtra{MemberConnect: 2001, MemberData: 3001}
			d.Put(&l)
		}
	})
	next, notices := editIn(t, byProgram, other, file.Over{Previous: open})
	if got, want := extra(next), (config.ListenerExtra{MemberConnect: 1501, MemberData: 3001}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	want := "timeout_member_connect was set to 2s by the API; the file says 1.5s now"
	if !strings.Contains(notices, want) {
		t.Errorf("%s, want %s", notices, want)
	}
	all := readFile(t, rare("", "timeout_member_connect = \"1ms\"\ntimeout_member_data = \"2ms\"\n"+
		"timeout_tcp_inspect = \"3ms\"\n"))
	next, _ = editIn(t, byProgram, all, file.Over{Previous: open})
	if got, want := extra(next), (config.ListenerExtra{MemberConnect: 2, MemberData: 3, TCPInspect: 4}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for text, want := range map[string]string{
		"-1s":         "timeout_member_data must be whole milliseconds from 0s to 596h31m23.646s, not -1s",
		"1500us":      "not 1.5ms",
		"596h31m24s":  "not 596h31m24s",
		"a while":     "is not a duration",
		"596h31m23s1": "is not a duration",
	} {
		_, err := file.Read("lab.toml", strings.NewReader(rare("", fmt.Sprintf("timeout_member_data = %q\n", text))))
		if err == nil || !strings.Contains(err.Error(), "lab.toml:14: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
