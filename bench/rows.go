package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A row is one line of the table: a measured quantity and its unit.
type row struct {
	group  string // heads a part of the table, and is a plot
	title  string
	unit   string
	lower  bool // less is better
	ratio  bool // a ratio already
	digits int
}

// A measurement gives one value for each of its rows.
type measurement struct {
	mode  mode
	rows  []row
	fresh bool // wants a world of its own: it leaves connections behind
	skip  func(contestant) bool
	run   func(w *world) ([]float64, error)
}

func (b *bench) measurements() []measurement {
	var all []measurement
	for _, m := range []mode{route, snat, floating, vip} {
		for _, cc := range []string{"cubic", b.defaultCC} {
			for _, streams := range []int{1, 4} {
				all = append(all, b.bulk(m, streams, cc))
			}
			if b.defaultCC == "cubic" {
				break
			}
		}
		if m != route {
			all = append(all, b.received(m), b.crc(m, 64))
		}
		if m == snat {
			all = append(all, b.forwarded(m), b.fresh(m), b.crc(m, 1), b.latency(m))
		}
	}
	if webTools() {
		all = append(all, b.http(false), b.http(true))
	}
	for _, f := range floods {
		all = append(all, b.neighbor(f))
	}
	return all
}

// bulk is TCP, as iperf3 measures it at the receiver.
func (b *bench) bulk(m mode, streams int, cc string) measurement {
	s := "s"
	if streams == 1 {
		s = ""
	}
	rows := []row{{group: "TCP bulk, " + cc, title: fmt.Sprintf("%s, %d stream%s", m, streams, s), unit: "Gbit/s",
		digits: 1}}
	if m == snat && streams == 4 {
		rows = append(rows, row{group: "Processor time, the whole machine's", title: "SNAT, 4 streams, " + cc,
			unit: "s/GB", lower: true, digits: 2})
	}
	return measurement{mode: m, rows: rows, run: func(w *world) ([]float64, error) {
		server, err := w.start(w.server(m), "iperf3", "-s", "-1", "--forceflush")
		if err != nil {
			return nil, err
		}
		defer server.stop()
		if err := server.wait("Server listening"); err != nil {
			return nil, err
		}
		const omit = 0.5
		t := b.time.Seconds()
		before, err := machineBusy()
		if err != nil {
			return nil, err
		}
		client, err := w.start(w.client(m), "iperf3", "-c", m.target(), "-t", strconv.Itoa(int(t+0.5)), "-O",
			fmt.Sprint(omit),
			"-P", strconv.Itoa(streams), "-C", cc, "-J", "--connect-timeout", "5000")
		if err != nil {
			return nil, err
		}
		select {
		case <-client.done:
		case <-time.After(b.time + 30*time.Second):
			client.stop()
			return nil, fmt.Errorf("iperf3 hangs")
		}
		after, err := machineBusy()
		if err != nil {
			return nil, err
		}
		var r struct {
			Error string `json:"error"`
			End   struct {
				Sum struct {
					Rate    float64 `json:"bits_per_second"`
					Seconds float64 `json:"seconds"`
				} `json:"sum_received"`
			} `json:"end"`
		}
		if err := json.Unmarshal(client.out.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("iperf3: %w\n%s", err, client.trace.String())
		}
		if r.Error != "" || r.End.Sum.Rate == 0 {
			return nil, fmt.Errorf("iperf3: %s\n%s", r.Error, server.trace.String())
		}
		values := []float64{r.End.Sum.Rate / 1e9}
		if len(rows) > 1 {
			gigabytes := r.End.Sum.Rate / 8 * (r.End.Sum.Seconds + omit) / 1e9
			values = append(values, (after-before)/gigabytes)
		}
		return values, nil
	}}
}

// received measures small packets from socket to socket. The sender stays on one
// processor; the router and the receiver share the rest.
func (b *bench) received(m mode) measurement {
	return measurement{mode: m, rows: []row{{group: "Small packets, 60 bytes",
		title: string(m) + ", received by a socket", unit: "k/s"}},
		run: func(w *world) ([]float64, error) {
			receiver, err := w.start(w.server(m), b.self, "load", "udp-receive", "-at", "0.0.0.0:7000", "-for",
				b.time.String())
			if err != nil {
				return nil, err
			}
			defer receiver.stop()
			if err := receiver.wait("ready"); err != nil {
				return nil, err
			}
			sender, err := w.start(w.client(m), b.self, "load", "udp-send", "-to", m.target()+":7000", "-flows", "16",
				"-cpu", "0",
				"-for", (b.time + time.Second).String())
			if err != nil {
				return nil, err
			}
			defer sender.stop()
			v, err := receiver.numbers()
			if err != nil {
				return nil, err
			}
			return []float64{v[0] / v[1] / 1e3}, nil
		}}
}

// forwarded is small packets that the receiving host drops at once, so that the
// router has a processor for itself.
func (b *bench) forwarded(m mode) measurement {
	return measurement{mode: m, rows: []row{{group: "Small packets, 60 bytes",
		title: string(m) + ", forwarded, dropped on arrival", unit: "k/s"}},
		run: func(w *world) ([]float64, error) {
			v, err := b.flood(w, b.time, "-src", internalHost, "-dst", behindOutside, "-flows", "64", "-for",
				(b.time + 300*time.Millisecond).String())
			if err != nil {
				return nil, err
			}
			return []float64{v / 1e3}, nil
		}}
}

// flood sends frames from the internal host and counts what reaches the external
// one, which drops it, in packets a second.
func (b *bench) flood(w *world, d time.Duration, args ...string) (float64, error) {
	if err := w.sink(true); err != nil {
		return 0, err
	}
	defer func() { _ = w.sink(false) }() // the world's end at the latest
	counter, err := w.start(w.external, b.self, "load", "count", "-dev", "out", "-for", d.String())
	if err != nil {
		return 0, err
	}
	defer counter.stop()
	if err := counter.wait("ready"); err != nil {
		return 0, err
	}
	if _, err := w.load(w.internal, append([]string{"frames", "-dev", "in", "-mac", w.routerMAC, "-cpu", "0"},
		args...)...); err != nil {
		return 0, err
	}
	v, err := counter.numbers()
	if err != nil {
		return 0, err
	}
	if v[1] == 0 {
		return 0, fmt.Errorf("too little arrives to measure")
	}
	return v[0] / v[1], nil
}

// fresh is new connections: each packet begins one.
func (b *bench) fresh(m mode) measurement {
	const d = 700 * time.Millisecond // in which the kernel's table does not fill up
	return measurement{mode: m, fresh: true, rows: []row{{group: "Connections",
		title: string(m) + ", new UDP connections", unit: "k/s"}},
		run: func(w *world) ([]float64, error) {
			v, err := b.flood(w, d, "-src", "172.30.0.1", "-sources", "64", "-dst", behindOutside, "-flows", "50000000",
				"-for", (d + 200*time.Millisecond).String())
			if err != nil {
				return nil, err
			}
			return []float64{v / 1e3}, nil
		}}
}

// crc is TCP connections of one request and its answer, of 64 bytes each, so many
// at a time.
func (b *bench) crc(m mode, atATime int) measurement {
	title := fmt.Sprintf("%s, TCP connect-request-close, %d at a time", m, atATime)
	return measurement{mode: m, rows: []row{{group: "Connections", title: title, unit: "k/s", digits: 1}},
		run: func(w *world) ([]float64, error) {
			server, err := w.start(w.server(m), b.self, "load", "crc-server", "-at", "0.0.0.0:7000", "-ports", "4")
			if err != nil {
				return nil, err
			}
			defer server.stop()
			if err := server.wait("ready"); err != nil {
				return nil, err
			}
			v, err := w.load(w.client(m), "crc-client", "-to", m.target()+":7000", "-ports", "4", "-flows",
				strconv.Itoa(atATime), "-for", b.time.String())
			if err != nil {
				return nil, err
			}
			return []float64{v[0] / v[1] / 1e3}, nil
		}}
}

// latency is round trips of single datagrams, one after the other. Whether client,
// router and server share a processor decides more than anything else, and the
// scheduler leaves them where they are for long: each value is the mean of many
// short rounds, with a new client each.
func (b *bench) latency(m mode) measurement {
	const rounds = 20
	return measurement{mode: m, rows: []row{
		{group: "Round trip", title: string(m) + ", UDP, median", unit: "us", lower: true, digits: 1},
		{group: "Round trip", title: string(m) + ", UDP, 99th percentile", unit: "us", lower: true, digits: 0},
	}, run: func(w *world) ([]float64, error) {
		p, to, err := w.echo(m)
		if err != nil {
			return nil, err
		}
		defer p.stop()
		values := make([]float64, 2)
		for range rounds {
			v, err := w.load(w.client(m), "ping", "-to", to+":7001", "-for", (b.time / rounds).String())
			if err != nil {
				return nil, err
			}
			for i := range values {
				values[i] += v[i] / rounds
			}
		}
		return values, nil
	}}
}

func (m measurement) String() string {
	var titles []string
	for _, r := range m.rows {
		titles = append(titles, r.group+": "+r.title)
	}
	return strings.Join(titles, "; ")
}
