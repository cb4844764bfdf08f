package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// bulk is TCP, as iperf3 measures it at the receiver.
func (b *bench) bulk(m mode, streams int, cc string) measurement {
	rows := []row{bulkRow("TCP bulk, "+cc, string(m)+", "+count(streams))}
	if m == snat && streams == 4 {
		rows = append(rows, row{Group: groupCPU, Title: "SNAT, 4 streams, " + cc, Unit: "s/GB", Lower: true, Digits: 2})
	}
	return measurement{mode: m, rows: rows, run: func(w *world) ([]float64, error) {
		rate, perGB, err := b.iperf(w, m, streams, cc)
		return []float64{rate, perGB}[:len(rows)], err
	}}
}

// bulkFresh is the same with hosts, contestant and connections that are new each time. If the machine falls into a slow
// mode for as long as the parties live, some of the runs show it.
func (b *bench) bulkFresh(m mode, streams int, cc string) measurement {
	return measurement{mode: m, fresh: true, runs: b.runs * 5 / 2, takes: isYardstickOrOurs,
		rows: []row{bulkRow(groupFresh, fmt.Sprintf("%s, %s, %s", m, count(streams), cc))},
		run: func(w *world) ([]float64, error) {
			rate, _, err := b.iperf(w, m, streams, cc)
			return []float64{rate}, err
		}}
}

// bulkMTU is bulk TCP of a host whose frames are no longer than the MTU.
func (b *bench) bulkMTU(streams int, cc string) measurement {
	return measurement{mode: mtu, takes: isVariant, rows: []row{bulkRow(groupMTU, count(streams)+", "+cc)},
		run: func(w *world) ([]float64, error) {
			rate, _, err := b.iperf(w, mtu, streams, cc)
			return []float64{rate}, err
		}}
}

// bulkTags is bulk TCP of hosts behind a switch, with and without tags.
func (b *bench) bulkTags(m mode, streams int) measurement {
	const cc = "cubic"
	k := tagsRow(m, fmt.Sprintf("TCP bulk, %s, %s", count(streams), cc))
	k.Unit, k.Digits = "Gbit/s", 1
	return measurement{mode: m, takes: isOurs, rows: []row{k}, run: func(w *world) ([]float64, error) {
		rate, _, err := b.iperf(w, m, streams, cc)
		return []float64{rate}, err
	}}
}

func bulkRow(group, title string) row {
	return row{Group: group, Title: title, Unit: "Gbit/s", Digits: 1}
}

// count says how many streams there are.
func count(streams int) string {
	if streams == 1 {
		return "1 stream"
	}
	return fmt.Sprint(streams, " streams")
}

// iperf measures bulk TCP, in Gbit/s as received, and the processor time of the whole machine, in seconds for each
// gigabyte.
func (b *bench) iperf(w *world, m mode, streams int, cc string) (rate, perGB float64, err error) {
	server, err := w.start(w.server(m), "iperf3", "-s", "-1", "--forceflush")
	if err != nil {
		return 0, 0, err
	}
	defer server.stop()
	if err := server.wait("Server listening"); err != nil {
		return 0, 0, err
	}
	const omit = 0.5
	before, err := machineBusy()
	if err != nil {
		return 0, 0, err
	}
	args := []string{"iperf3", "-c", m.target(), "-t", strconv.Itoa(max(1, int(b.time.Seconds()+0.5))), "-O",
		fmt.Sprint(omit), "-P", strconv.Itoa(streams), "-J", "--connect-timeout", "5000"}
	if cc == pacedCubic {
		cc, args = "bbr", append(args, "-C", "cubic") // which comes when the connection is there
	}
	if err := w.congestion(m, cc); err != nil {
		return 0, 0, err
	}
	client, err := w.start(w.client(m), args...)
	if err != nil {
		return 0, 0, err
	}
	select {
	case <-client.done:
	case <-time.After(b.time + 30*time.Second):
		client.stop()
		return 0, 0, fmt.Errorf("iperf3 hangs")
	}
	after, err := machineBusy()
	if err != nil {
		return 0, 0, err
	}
	received, err := parseIperf(client.out.Bytes())
	if err != nil {
		return 0, 0, fmt.Errorf("%w\n%s%s", err, client.trace.String(), server.trace.String())
	}
	return received.Rate / 1e9, (after - before) / (received.Rate / 8 * (received.Seconds + omit) / 1e9), nil
}

// pacedCubic is cubic on a connection that has begun with bbr. The sender's kernel goes on to pace it. That is what
// iperf3 -C cubic measures where bbr is the default.
const pacedCubic = "cubic, paced"

// congestion has the client's connections begin with a congestion control, by the route. An option of iperf3 would
// come later, when the connection has begun with the machine's default.
func (w *world) congestion(m mode, cc string) error {
	args := []string{"ip", "-n", w.client(m), "route", "replace", m.target() + "/32", "dev", "out"}
	if m.outbound() {
		args[len(args)-1] = "in"
		args = append(args, "via", internalGW)
	}
	return sh(append(args, "congctl", cc)...)
}

// A received is what iperf3's server got.
type received struct {
	Rate    float64 `json:"bits_per_second"`
	Seconds float64 `json:"seconds"`
}

// parseIperf reads what iperf3 prints at its end, as JSON.
func parseIperf(text []byte) (received, error) {
	var r struct {
		Error string `json:"error"`
		End   struct {
			Sum received `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return received{}, fmt.Errorf("iperf3: %w", err)
	}
	if r.Error != "" {
		return received{}, fmt.Errorf("iperf3: %s", r.Error)
	}
	if r.End.Sum.Rate <= 0 {
		return received{}, fmt.Errorf("iperf3: nothing was received")
	}
	return r.End.Sum, nil
}
