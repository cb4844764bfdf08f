package neutron_test

import "testing"

// A monitor has a version of HTTP and a host to name, as numbers and null come from clients, and shows both as numbers
// and null. TLS-HELLO has neither.
func TestMonitorsOfHTTPAndTLS(t *testing.T) {
	c := newCloud(t)
	c.buildBalancer()
	at := lb + "healthmonitors/{hm}"
	shows := func(version, domain any) {
		t.Helper()
		o := c.do(200, "GET", at, "")
		if o["http_version"] != version || o["domain_name"] != domain {
			t.Errorf("version %v, domain %v, want %v and %v", o["http_version"], o["domain_name"], version, domain)
		}
	}
	c.do(200, "PUT", at, `{"healthmonitor":{"http_version":1.1,"domain_name":"www.example.com"}}`)
	shows(1.1, "www.example.com")
	c.faults("PUT", at, "healthmonitor", `
400 "http_version":1.0
400 "http_version":2
400 "http_version":"x"
400 "domain_name":"a b"`)
	shows(1.1, "www.example.com")
	c.do(200, "PUT", at, `{"healthmonitor":{"http_version":"1.0","domain_name":null}}`)
	shows(1.0, nil)
	c.do(200, "PUT", at, `{"healthmonitor":{"http_version":null}}`)
	shows(nil, nil)
	c.do(204, "DELETE", at, "")
	c.faults("POST", lb+"healthmonitors", "healthmonitor", `
400 "pool_id":"{pool}","type":"TLS-HELLO","delay":5,"timeout":5,"max_retries":1,"domain_name":"www.example.com"
400 "pool_id":"{pool}","type":"TLS-HELLO","delay":5,"timeout":5,"max_retries":1,"http_version":1.1`)
	c.make("hm", lb+"healthmonitors", `{"healthmonitor":{"pool_id":"{pool}","type":"TLS-HELLO","delay":5,"timeout":5,
		"max_retries":1,"http_version":null,"domain_name":null,"url_path":null}}`)
	if o := c.do(200, "GET", at, ""); o["type"] != "TLS-HELLO" || o["url_path"] != nil {
		t.Errorf("%v", o)
	}
}
