package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// own is where the router's own API is.
const own = "/taprouter/v1"

// OwnCommands are about the process, rather than about objects of its networks.
type OwnCommands struct {
	Status  statusCommand  `cmd:"" group:"A running router:" help:"How a running router is doing."`
	Show    showCommands   `cmd:"" group:"A running router:" help:"Look into it: connections, NAT, neighbors, routes, drops and more."`
	Events  eventsCommand  `cmd:"" group:"A running router:" help:"Print what happens, as it happens."`
	Lease   leaseCommands  `cmd:"" group:"A running router:" help:"Addresses that hosts have by DHCP for a while."`
	Apply   applyCommand   `cmd:"" group:"A running router:" help:"Have a topology file take the place of the one it serves; --plan only says what would change."`
	Export  exportCommand  `cmd:"" group:"A running router:" help:"Print everything it serves as a topology file."`
	Log     logCommand     `cmd:"" group:"A running router:" help:"Have its log say more or less."`
	Upgrade upgradeCommand `cmd:"" group:"A running router:" help:"Have it go on in the program that is installed now."`
}

// outputOption chooses between text for people and the answer as JSON.
type outputOption struct {
	Output string `short:"o" enum:"text,json" default:"text" placeholder:"FORMAT" help:"How to print: text for people, json for programs."`
}

// A problem is an error of the router's own API (RFC 9457).
type problem struct {
	status int
	title  string
	detail string
	faults []string
}

func (p *problem) Error() string {
	if len(p.faults) > 0 {
		return strings.Join(p.faults, "\n")
	}
	if p.detail == "" {
		return fmt.Sprintf("the router answers %d %s", p.status, p.title)
	}
	return p.detail
}

// HasFaults reports whether an error is about what is wrong with a topology file.
func HasFaults(err error) bool {
	var p *problem
	return errors.As(err, &p) && len(p.faults) > 0
}

// problemOf reads the answer that is an error.
func problemOf(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	p := &problem{status: resp.StatusCode, title: http.StatusText(resp.StatusCode)}
	v, err := decode(text)
	o, ok := v.(*object)
	if err != nil || !ok {
		p.detail = messageOf(text, resp)
		return p
	}
	if p.detail = o.text("detail"); p.detail == "" {
		p.detail = messageOf(text, resp)
	}
	for _, f := range o.list("faults") {
		p.faults = append(p.faults, faultText(f))
	}
	return p
}

// faultText is a fault as `taprouter check` prints it.
func faultText(v any) string {
	f, _ := v.(*object)
	text := f.text("message")
	if file := f.text("file"); file != "" {
		return fmt.Sprintf("%s:%d: %s", file, integer(f.get("line")), text)
	}
	return text
}

// request sends a request to the router's own API. Whoever calls it closes the body. The answer may take any time, but
// it must go on: the request ends when nothing comes for the time that --request-timeout says.
func (s *Session) request(method, path, kind string, body []byte, header map[string]string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	t := s.router
	timer := time.AfterFunc(t.timeout, func() { cancel(context.DeadlineExceeded) })
	req, err := t.request(ctx, method, own+path, kind, bytes.NewReader(body))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := t.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && s.ctx.Err() == nil {
			err = cause
		}
		err = t.unreachable(s.ctx, err)
		timer.Stop()
		cancel(nil)
		return nil, err
	}
	resp.Body = &watched{resp.Body, timer, t.timeout, cancel, ctx}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, problemOf(resp)
	}
	return resp, nil
}

// A watched body ends when nothing comes for a time.
type watched struct {
	io.ReadCloser
	timer   *time.Timer
	timeout time.Duration
	cancel  context.CancelCauseFunc
	ctx     context.Context
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	if n > 0 {
		w.timer.Reset(w.timeout)
	}
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(w.ctx), context.DeadlineExceeded) {
		err = fmt.Errorf("nothing came for %v; --request-timeout waits longer", w.timeout)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	w.cancel(nil)
	return w.ReadCloser.Close()
}

// read reads an answer of the own API.
func (s *Session) read(method, path string, query url.Values) (*object, []byte, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	resp, err := s.request(method, path, "", nil, nil)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > maxAnswer {
		return nil, nil, fmt.Errorf("the answer to %s is larger than %d bytes", path, maxAnswer)
	}
	v, err := decode(text)
	o, ok := v.(*object)
	if err != nil || !ok {
		return nil, nil, fmt.Errorf("the answer to %s is not what a router says", path)
	}
	return o, text, nil
}

type applyCommand struct {
	Connection
	File     string `arg:"" help:"Topology file (TOML); - is standard input."`
	Plan     bool   `help:"Say what would change, and change nothing."`
	Cascade  bool   `help:"Delete what the API hangs on objects that vanish, instead of refusing."`
	Revision uint64 `placeholder:"N" help:"Do it only if this revision is served, as status and --plan print it."`
	outputOption
}

// maxTopology bounds a topology file, in bytes.
const maxTopology = 16 << 20

// Run applies a topology file.
func (c *applyCommand) Run(s *Session) error {
	text, name, err := c.read(s.in)
	if err != nil {
		return err
	}
	query := url.Values{"name": {name}}
	if c.Cascade {
		query.Set("cascade", "true")
	}
	header := map[string]string{}
	if c.Revision > 0 {
		header["If-Match"] = `"` + strconv.FormatUint(c.Revision, 10) + `"`
	}
	path := "/apply?"
	if c.Plan {
		path = "/plan?"
	}
	resp, err := s.request(http.MethodPost, path+query.Encode(), "application/toml", text, header)
	if err != nil {
		return s.failed(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return s.failed(err)
	}
	v, err := decode(answer)
	o, ok := v.(*object)
	if err != nil || !ok {
		return s.failed(errors.New("the answer is not what a router says"))
	}
	if c.Output == "json" {
		return s.write(jsonText(o, 2) + "\n")
	}
	for _, w := range o.list("warnings") {
		s.say("warning: %s", faultText(w))
	}
	for _, n := range texts(o.list("notes")) {
		s.say("note: %s", n)
	}
	return s.write(appliedText(o, c.Plan))
}

func (c *applyCommand) read(in io.Reader) (text []byte, name string, err error) {
	name = "standard input"
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, "", err
		}
		defer f.Close()
		in, name = f, filepath.Base(c.File)
	}
	text, err = io.ReadAll(io.LimitReader(in, maxTopology+1))
	if err == nil && len(text) > maxTopology {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxTopology)
	}
	return text, name, err
}

// write prints text that may go to a terminal.
func (s *Session) write(text string) error {
	_, err := io.WriteString(s.out, safe(text))
	return err
}

// appliedText is what plan and apply print.
func appliedText(o *object, plan bool) string {
	var b strings.Builder
	for _, c := range o.list("changes") {
		change, _ := c.(*object)
		changeText(&b, change)
	}
	n := len(o.list("changes"))
	switch {
	case n == 0:
		fmt.Fprintf(&b, "no changes; revision %d\n", integer(o.get("revision")))
	case plan:
		fmt.Fprintf(&b, "%s planned; revision %d is served\n", counted(n, "change"), integer(o.get("revision")))
	default:
		fmt.Fprintf(&b, "%s made; revision %d\n", counted(n, "change"), integer(o.get("revision")))
	}
	return b.String()
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func changeText(b *strings.Builder, c *object) {
	sign := map[string]string{"added": "+", "changed": "~", "removed": "-"}[c.text("op")]
	if sign == "" {
		sign = c.text("op")
	}
	fmt.Fprintf(b, "%s %s", sign, c.text("name"))
	if former := c.text("former_name"); former != "" {
		fmt.Fprintf(b, " (was %s)", former)
	}
	b.WriteByte('\n')
	for _, a := range c.list("attributes") {
		o, _ := a.(*object)
		var parts []string
		before, after := o.text("before"), o.text("after")
		switch {
		case before != "" && after != "":
			parts = append(parts, before+" -> "+after)
		case before != "":
			parts = append(parts, before+" -> none")
		case after != "":
			parts = append(parts, after)
		}
		for _, x := range texts(o.list("added")) {
			parts = append(parts, "+"+x)
		}
		for _, x := range texts(o.list("removed")) {
			parts = append(parts, "-"+x)
		}
		fmt.Fprintf(b, "    %s: %s", o.text("name"), strings.Join(parts, " "))
		if o.get("at_next_start") == true {
			b.WriteString(" (at the next start)")
		}
		b.WriteByte('\n')
	}
	for _, e := range c.list("effects") {
		o, _ := e.(*object)
		fmt.Fprintf(b, "    connections %s: %s\n", o.text("fate"), o.text("text"))
	}
}

type exportCommand struct{ Connection }

// Run prints everything as a topology file.
func (c *exportCommand) Run(s *Session) error {
	resp, err := s.request(http.MethodGet, "/export", "", nil, nil)
	if err != nil {
		return s.failed(err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(safeWriter{s.out}, io.LimitReader(resp.Body, maxAnswer))
	return s.failed(err)
}

// A safeWriter lets no control character but line ends and tabs through.
type safeWriter struct{ w io.Writer }

func (s safeWriter) Write(b []byte) (int, error) {
	clean := bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= 0x20 && (r < 0x7f || r > 0x9f) {
			return r
		}
		return -1
	}, b)
	if _, err := s.w.Write(clean); err != nil {
		return 0, err
	}
	return len(b), nil
}

type logCommand struct {
	Connection
	Level string `arg:"" optional:"" default:"" enum:",debug,info,warn,error" help:"debug, info, warn or error; without it the present one is printed."`
}

// Run sets the log level, or prints it.
func (c *logCommand) Run(s *Session) error {
	method, body, kind := http.MethodGet, []byte(nil), ""
	if c.Level != "" {
		text, err := encode(map[string]string{"level": c.Level})
		if err != nil {
			return err
		}
		method, body, kind = http.MethodPut, text, "application/json"
	}
	resp, err := s.request(method, "/log-level", kind, body, nil)
	if err != nil {
		return s.failed(err)
	}
	defer resp.Body.Close()
	var level struct{ Level string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxTopology)).Decode(&level); err != nil {
		return s.failed(fmt.Errorf("the answer is not what a router says: %w", err))
	}
	if c.Level != "" {
		return nil
	}
	return s.write(level.Level + "\n")
}

type upgradeCommand struct{ Connection }

// Run has the router go on in the program that is installed now.
func (c *upgradeCommand) Run(s *Session) error {
	resp, err := s.request(http.MethodPost, "/upgrade", "", nil, nil)
	if err != nil {
		return s.failed(err)
	}
	defer resp.Body.Close()
	return s.write("the router goes on in the program that is installed now; `taprouter status` tells its version\n")
}

type statusCommand struct {
	Connection
	outputOption
}

// Run prints how the router is doing.
func (c *statusCommand) Run(s *Session) error {
	o, _, err := s.read(http.MethodGet, "/status", nil)
	if err != nil {
		return s.failed(err)
	}
	if c.Output == "json" {
		return s.write(jsonText(o, 2) + "\n")
	}
	return s.write(statusText(o))
}

func statusText(o *object) string {
	var b strings.Builder
	seconds, _ := number(o.get("uptime")).Float64() // 0 is shown for what is no number
	up := time.Duration(seconds * float64(time.Second)).Round(time.Second)
	fmt.Fprintf(&b, "taprouter %s, up %v, revision %s\n", o.text("version"), up, number(o.get("revision")))
	objects, _ := o.get("objects").(*object)
	var counts []string
	if objects != nil {
		for _, k := range objects.keys {
			if n := integer(objects.values[k]); n != 0 {
				counts = append(counts, counted(n, strings.ReplaceAll(strings.TrimSuffix(k, "s"), "_", " ")))
			}
		}
	}
	if counts == nil {
		counts = []string{"none"}
	}
	fmt.Fprintf(&b, "objects: %s\n", strings.Join(counts, ", "))
	fmt.Fprintf(&b, "connections: %s\n", number(o.get("connections")))
	if missing := texts(o.list("missing_devices")); len(missing) > 0 {
		fmt.Fprintf(&b, "missing devices: %s\n", strings.Join(missing, " "))
	}
	for _, v := range o.list("members_down") {
		m, _ := v.(*object)
		fmt.Fprintf(&b, "member down: %s of pool %s, VIP %s: %s\n", m.text("member"), m.text("pool"), m.text("vip"),
			m.text("why"))
	}
	for _, v := range o.list("pools_full") {
		p, _ := v.(*object)
		network := p.text("network")
		if network == "" {
			network = p.text("network_id")
		}
		fmt.Fprintf(&b, "no free address: subnet %s of network %s, whose pools have %s\n", p.text("subnet"), network,
			addresses(integer(p.get("size"))))
	}
	for _, v := range o.list("unserved") {
		fmt.Fprintf(&b, "kept, not obeyed yet: %s\n", faultText(v))
	}
	for _, v := range o.list("workers") {
		w, _ := v.(*object)
		fmt.Fprintf(&b, "worker %s: %s, %s, busy %s s\n", number(w.get("worker")),
			counted(integer(w.get("networks")), "network"), counted(integer(w.get("routers")), "router"),
			number(w.get("busy_seconds")))
	}
	return b.String()
}

// addresses is a number of addresses.
func addresses(n int) string {
	if n == 1 {
		return "1 address"
	}
	return fmt.Sprintf("%d addresses", n)
}

// number is a number of an answer; what is none is 0.
func number(v any) json.Number {
	if n, ok := v.(json.Number); ok {
		return n
	}
	return "0"
}
