package neutron_test

import "testing"

// A member shows the address and the port that its checks go to, as it was told. Both have to be a host's.
func TestMonitoredEndpoint(t *testing.T) {
	c := newCloud(t)
	c.buildBalancer()
	const path = lb + "pools/{pool}/members"
	o := c.do(200, "PUT", path+"/{m1}", `{"member":{"monitor_address":"172.16.101.9","monitor_port":"81"}}`)
	if o["monitor_address"] != "172.16.101.9" || o["monitor_port"] != 81. {
		t.Errorf("%v", o)
	}
	c.faults("POST", path, "member", `
400 "address":"172.16.101.5","protocol_port":1,"monitor_port":65536
400 "address":"172.16.101.5","protocol_port":1,"monitor_address":"x"
400 "address":"172.16.101.5","protocol_port":1,"monitor_address":"127.0.0.1"
400 "address":"172.16.101.5","protocol_port":1,"monitor_address":"2001:db8::5"`)
}
