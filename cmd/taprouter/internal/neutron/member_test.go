package neutron_test

import (
	"fmt"
	"testing"
)

// A batch makes a list the members of a pool, all of it or nothing.
func TestBatch(t *testing.T) {
	c := newCloud(t)
	c.buildBalancer()
	const path = lb + "pools/{pool}/members"
	c.do(200, "PUT", path+"/{m2}", `{"member":{"monitor_address":"172.16.101.9","monitor_port":81}}`)
	a := c.ask("PUT", path+"?additive_only=true", `{"members":[{"name":"m3","address":"172.16.101.5",
		"protocol_port":"8080","subnet_id":null},{"address":"172.16.101.4","protocol_port":8080,"weight":9,
		"subnet_id":"{sub}"}]}`)
	if a.status != 202 || a.text != "" {
		t.Errorf("%d %s", a.status, a.text)
	}
	c.list(path, "m1", "m2", "m3")
	if o := c.do(200, "GET", path+"/{m2}", ""); o["weight"] != 9. || o["backup"] != true || o["name"] != "m2" ||
		o["monitor_port"] != 81. {
		t.Errorf("%v", o)
	}
	c.do(202, "PUT", path, `{"members":[{"name":"","address":"172.16.101.4","protocol_port":8080,"weight":null},
		{"name":"m6","address":"172.16.101.6","protocol_port":8080}]}`)
	c.list(path, "", "m6")
	if o := c.do(200, "GET", path+"/{m2}", ""); o["weight"] != 1. {
		t.Errorf("%v", o)
	}
	c.fault(400, "PUT", path, `{"members":[{"address":"172.16.101.9","protocol_port":1},
		{"address":"172.16.101.4","protocol_port":8080,"x":1}]}`)
	both := func(project string) string {
		return fmt.Sprintf(`{"members":[{"address":"172.16.101.4","protocol_port":8080,%s},
			{"address":"172.16.101.6","protocol_port":8080,"name":"m6",%[1]s}]}`, project)
	}
	c.do(202, "PUT", path, both(project)) // members that are there, and new ones
	c.do(202, "PUT", path, both(`"project_id":null`))
	c.fault(400, "PUT", path, both(`"project_id":"other"`))
	c.fault(404, "PUT", lb+"pools/{lb}/members", `{"members":[]}`)
	c.list(path, "", "m6")
	c.do(202, "PUT", path, `{"members":[]}`)
	c.list(path)
}
