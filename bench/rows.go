package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A measurement gives one value for each of its rows.
type measurement struct {
	mode  mode
	rows  []row
	fresh bool // wants a world of its own each time: it leaves connections behind, or is about the start
	runs  int  // how often; 0: as often as the flags say
	// takes reports whether a contestant takes part; nil: every router does.
	takes func(contestant) bool
	run   func(w *world) ([]float64, error)
}

func (m measurement) String() string {
	var titles []string
	for _, r := range m.rows {
		titles = append(titles, r.Group+": "+r.Title)
	}
	return strings.Join(titles, "; ")
}

// routes reports whether a contestant is a router, and not only a balancer, and no variant for a single row.
func routes(c contestant) bool {
	switch c := c.(type) {
	case kernel:
		return !c.groOff
	case taprouterOn:
		return !c.groOff
	case haproxy:
		return false
	}
	return true
}

// isOurs reports whether a contestant is taprouter, without variants.
func isOurs(c contestant) bool {
	_, ours := c.(taprouterOn)
	return ours && routes(c)
}

// isYardstickOrOurs leaves out other routers.
func isYardstickOrOurs(c contestant) bool { return !isOther(c) && routes(c) }

// isVariant is the contestants of rows about GRO: all but other routers.
func isVariant(c contestant) bool { return !isOther(c) }

// isOther reports whether a contestant is another program, which may fail without the run being in vain.
func isOther(c contestant) bool {
	switch c.(type) {
	case peer, ovs, haproxy:
		return true
	}
	return false
}

const (
	groupMTU   = "TCP bulk of MTU frames, SNAT"
	groupFresh = "TCP bulk, all parties started anew"
	groupTags  = "Tags"
	groupCPU   = "Processor time, the whole machine's"
	groupSmall = "Small packets, 60 bytes"
	groupConns = "Connections"
	groupTrip  = "Round trip"
)

// notes stand between a group's title and its table.
var notes = map[string]string{
	groupMTU: "The sender has its offloads off (TSO, GSO, GRO). Ratios are to the kernel with GRO switched on at\n" +
		"its ends of the veths, as network cards have it; off is the default of veths.",
	groupTags: "The hosts are behind a switch. Ratios are to the same contestant with a device for each network and\n" +
		"no tags. The kernel takes no part: VLAN devices (8021q) are not in every kernel.",
}

func (b *bench) measurements() []measurement {
	algorithms := []string{"cubic"}
	if b.defaultCC != "cubic" {
		algorithms = append(algorithms, b.defaultCC)
	}
	var all []measurement
	for _, m := range []mode{route, snat, floating, vip} {
		for _, cc := range algorithms {
			for _, streams := range []int{1, 4} {
				all = append(all, b.bulk(m, streams, cc))
			}
		}
		if m != route {
			all = append(all, b.received(m), b.crc(m, 16))
		}
		if m == snat {
			all = append(all, b.forwarded(m), b.crc(m, 1), b.tcpLatency(m, false), b.tcpLatency(m, true), b.latency(m),
				b.newConnections(m, "64 hosts", "-sources", "64"))
		}
	}
	all = append(all, b.newConnections(unchanged, "one host's 60 000 ports", "-each", "60000"))
	if b.defaultCC == "bbr" {
		for _, m := range []mode{snat, vip} {
			all = append(all, b.bulk(m, 1, pacedCubic), b.bulk(m, 4, pacedCubic))
		}
		all = append(all, b.bulkFresh(vip, 4, pacedCubic))
	} else {
		all = append(all, b.bulkFresh(vip, 4, b.defaultCC))
	}
	for _, cc := range algorithms {
		for _, streams := range []int{1, 4} {
			all = append(all, b.bulkMTU(streams, cc))
		}
	}
	for _, streams := range []int{1, 4} {
		all = append(all, b.bulkTags(untagged, streams), b.bulkTags(tagged, streams))
	}
	all = append(all, b.smallTags(untagged), b.smallTags(tagged))
	if webTools() {
		all = append(all, b.http(false), b.http(true))
	}
	for _, f := range floods {
		all = append(all, b.neighbor(f))
	}
	return all
}

// received measures small packets from socket to socket. The sender stays on one
// processor; the router and the receiver share the rest.
func (b *bench) received(m mode) measurement {
	return measurement{mode: m, rows: []row{{Group: groupSmall, Title: string(m) + ", received by a socket",
		Unit: "k/s"}},
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
	return measurement{mode: m, rows: []row{{Group: groupSmall, Title: string(m) + ", forwarded, dropped on arrival",
		Unit: "k/s"}}, run: b.forward}
}

// smallTags is the same behind a switch, with and without tags.
func (b *bench) smallTags(m mode) measurement {
	k := tagsRow(m, "small packets, forwarded, dropped on arrival")
	k.Unit = "k/s"
	return measurement{mode: m, takes: isOurs, rows: []row{k}, run: b.forward}
}

// tagsRow is a row with or without tags; with tags it is compared with the one without.
func tagsRow(m mode, what string) row {
	without := what + ", without tags"
	if m == untagged {
		return row{Group: groupTags, Title: without}
	}
	return row{Group: groupTags, Title: what + ", both networks on a trunk", Over: without}
}

// forward measures how many small packets of a host come through, in thousands a second.
func (b *bench) forward(w *world) ([]float64, error) {
	v, err := b.flood(w, b.time, "-src", internalHost, "-dst", behindOutside, "-flows", "64", "-for",
		(b.time + 300*time.Millisecond).String())
	if err != nil {
		return nil, err
	}
	return []float64{v / 1e3}, nil
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

// newConnections is a flood of which each packet begins a connection.
func (b *bench) newConnections(m mode, whose string, args ...string) measurement {
	const d = 700 * time.Millisecond // in which the kernel's table does not fill up
	title := "SNAT, new UDP connections of " + whose
	if m == unchanged {
		title += ", default settings"
	}
	args = append([]string{"-src", "172.30.0.1", "-dst", behindOutside, "-flows", "50000000", "-for",
		(d + 200*time.Millisecond).String()}, args...)
	return measurement{mode: m, fresh: true, rows: []row{{Group: groupConns, Title: title, Unit: "k/s"}},
		run: func(w *world) ([]float64, error) {
			v, err := b.flood(w, d, args...)
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
	return measurement{mode: m, rows: []row{{Group: groupConns, Title: title, Unit: "k/s", Digits: 1}},
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

// tripRows are the rows of round trips.
func tripRows(title string) []row {
	return []row{
		{Group: groupTrip, Title: title + ", median", Unit: "us", Lower: true, Digits: 1},
		{Group: groupTrip, Title: title + ", 99th percentile", Unit: "us", Lower: true},
	}
}

// latency is round trips of single datagrams, one after the other.
func (b *bench) latency(m mode) measurement {
	return measurement{mode: m, rows: tripRows(string(m) + ", UDP"), run: func(w *world) ([]float64, error) {
		p, to, err := w.echo(m)
		if err != nil {
			return nil, err
		}
		defer p.stop()
		return b.trips(w, m, "ping", to+":7001")
	}}
}

// tcpLatency is round trips on a TCP connection, on a quiet machine or beside a process that keeps a processor busy.
func (b *bench) tcpLatency(m mode, busy bool) measurement {
	title := string(m) + ", TCP"
	if busy {
		title += ", with a busy neighbor"
	}
	return measurement{mode: m, rows: tripRows(title), run: func(w *world) ([]float64, error) {
		server, err := w.start(w.server(m), b.self, "load", "tcp-echo", "-at", "0.0.0.0:7001")
		if err != nil {
			return nil, err
		}
		defer server.stop()
		if err := server.wait("ready"); err != nil {
			return nil, err
		}
		if busy {
			neighbor, err := w.start(w.router, b.self, "load", "spin", "-for", (b.time + time.Minute).String())
			if err != nil {
				return nil, err
			}
			defer neighbor.stop()
		}
		return b.trips(w, m, "tcp-ping", m.target()+":7001")
	}}
}

// trips has a tool measure round trips. Whether client, router and server share a processor decides more than anything
// else, and the scheduler leaves them where they are for long: each value is the mean of many short parts, with a new
// client each.
func (b *bench) trips(w *world, m mode, tool, to string) ([]float64, error) {
	const parts = 20
	values := make([]float64, 2)
	for range parts {
		v, err := w.load(w.client(m), tool, "-to", to, "-for", (b.time / parts).String())
		if err != nil {
			return nil, err
		}
		for i := range values {
			values[i] += v[i] / parts
		}
	}
	return values, nil
}
