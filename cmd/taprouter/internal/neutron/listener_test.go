package neutron_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

// Timeouts that only a proxy has are kept and shown, and null is the default again. The log names them.
func TestProxyTimeouts(t *testing.T) {
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	var noted []string
	c := cloudOn(t, e, neutron.Options{Note: note(&noted)})
	c.buildBalancer()
	noted = nil
	for _, x := range []struct{ given, want string }{{"7", "7"}, {"0", "0"}, {"null", ""}} {
		o := c.do(200, "PUT", lb+"listeners/{li}", fmt.Sprintf(`{"listener":{"timeout_member_connect":%[1]s,
			"timeout_member_data":%[1]s,"timeout_tcp_inspect":%[1]s}}`, x.given))
		for name, usual := range map[string]string{"timeout_member_connect": "5000", "timeout_member_data": "50000",
			"timeout_tcp_inspect": "0"} {
			want := x.want
			if want == "" {
				want = usual
			}
			if got := fmt.Sprint(o[name]); got != want {
				t.Errorf("%s %s: %s, want %s", name, x.given, got, want)
			}
		}
	}
	if got := strings.Join(noted, " "); !strings.Contains(got, "timeout_member_connect") {
		t.Errorf("the log says %q", got)
	}
	if l := c.control.State().Listener(config.ID(c.ids["li"])); l.Extra != nil {
		t.Errorf("%+v is left", l.Extra)
	}
}
