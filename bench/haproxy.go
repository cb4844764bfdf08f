package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// haproxy is HAProxy in TCP mode, as Octavia's own balancer is. It ends a connection on either
// side and copies between them; members see its address, not the client's.
type haproxy struct{}

func (haproxy) name() string { return "HAProxy, TCP mode" }

// haproxyInstalled reports whether it can take part.
func haproxyInstalled() bool {
	_, err := exec.LookPath("haproxy")
	return err == nil
}

// haproxyConfig is the configuration that is fastest for HAProxy: a thread for each processor, no
// logs, no checks, splicing.
const haproxyConfig = `
global
	maxconn 4000
defaults
	mode tcp
	timeout connect 5s
	timeout client 50s
	timeout server 50s
	option splice-auto
	option tcp-smart-accept
	option tcp-smart-connect
frontend web
	bind 10.10.10.7:80
	default_backend pool
backend pool
	balance roundrobin
	server one 172.16.100.9:80
	server two 172.16.100.10:80
`

func (haproxy) start(w *world, _ mode) error {
	if err := w.veths(); err != nil {
		return err
	}
	for _, step := range [][]string{
		{"addr", "add", internalGW + "/24", "dev", "r-in"}, {"addr", "add", routerAddress + "/24", "dev", "r-out"},
		{"addr", "add", vipAddress + "/32", "dev", "r-out"},
	} {
		if err := sh(append([]string{"ip", "-n", w.router}, step...)...); err != nil {
			return err
		}
	}
	if err := in(w.router, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535"); err != nil {
		return err
	}
	file := filepath.Join(w.bench.dir, w.router+".cfg")
	if err := os.WriteFile(file, []byte(haproxyConfig), 0o600); err != nil {
		return err
	}
	p, err := w.start(w.router, "haproxy", "-db", "-f", file)
	if err != nil {
		return err
	}
	w.processes = append(w.processes, p)
	return nil
}

// nginxConfig serves a short page; the client's wish to have the connection closed is obeyed.
const nginxConfig = `
daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx.err;
events { worker_connections 8192; }
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server { listen 80 backlog=4096; location / { return 200 "WEB\n"; } }
}
`

// serveWeb starts the members' web server, and waits until a page comes through.
func (w *world) serveWeb() error {
	dir, err := os.MkdirTemp(w.bench.dir, "nginx")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir), 0o600); err != nil {
		return err
	}
	p, err := w.start(w.internal, "nginx", "-p", dir, "-c", file)
	if err != nil {
		return err
	}
	w.processes = append(w.processes, p)
	for range 50 {
		if err = in(w.external, "curl", "-sf", "-m", "1", "-o", filepath.Join(dir, "page"),
			"http://"+vipAddress+"/"); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("no page comes through: %w", err)
}

// webTools reports whether the programs that ask and answer are installed.
func webTools() bool {
	for _, tool := range []string{"wrk", "nginx", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			return false
		}
	}
	return true
}

// isWeb reports whether a contestant knows how to serve HTTP through a floating IP and a VIP.
func isWeb(c contestant) bool {
	if _, balances := c.(haproxy); balances {
		return true
	}
	return isYardstickOrOurs(c)
}

var wrkLines = regexp.MustCompile(`(?s)99%\s+([\d.]+)(us|ms|s).*Requests/sec:\s+([\d.]+)`)

// http measures requests as wrk makes them: each on a connection of its own, or, with keep, all on
// 64 connections that stay open.
func (b *bench) http(keep bool) measurement {
	title, header := "HTTP requests, each on a connection of its own, 64 at a time", "Connection: close"
	if keep {
		title, header = "HTTP requests on 64 connections", "Connection: keep-alive"
	}
	return measurement{mode: web, takes: isWeb, rows: []row{
		{Group: "HTTP through a floating IP and a VIP", Title: title, Unit: "k/s", Digits: 1},
		{Group: "HTTP through a floating IP and a VIP", Title: title + ", 99th percentile", Unit: "ms", Lower: true,
			Digits: 1},
	}, run: func(w *world) ([]float64, error) {
		p, err := w.start(w.external, "wrk", "-t", "1", "-c", "64", "-d",
			strconv.Itoa(max(1, int(b.time.Seconds()+0.5))), "--latency",
			"-H", header, "http://"+vipAddress+"/")
		if err != nil {
			return nil, err
		}
		select {
		case <-p.done:
		case <-time.After(b.time + 30*time.Second):
			p.stop()
			return nil, fmt.Errorf("wrk hangs")
		}
		said := p.trace.String()
		f := wrkLines.FindStringSubmatch(said)
		if p.err != nil || f == nil {
			return nil, fmt.Errorf("wrk: %v\n%s", p.err, said)
		}
		if errs := wrkErrors.FindString(said); errs != "" {
			return nil, fmt.Errorf("wrk: %s", errs)
		}
		slow, _ := strconv.ParseFloat(f[1], 64) // the pattern has numbers only
		rate, _ := strconv.ParseFloat(f[3], 64)
		return []float64{rate / 1e3, slow * map[string]float64{"us": 1e-3, "ms": 1, "s": 1e3}[f[2]]}, nil
	}}
}

// wrkErrors are requests that did not go right. Where the server closes the connection, wrk takes
// the end of some for an error in reading, though the answer is there.
var wrkErrors = regexp.MustCompile(`(Non-2xx.*|Socket errors: connect [1-9].*|Socket errors:.*timeout [1-9].*)`)
