//go:build linux

package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A driver steers a headless Chromium by W3C's WebDriver protocol, which ChromeDriver speaks.
type driver struct {
	*space
	client  *http.Client
	session string // its URL
}

// elementKey is the name of an element's id in the protocol.
const elementKey = "element-6066-11e4-a52e-4f735466cecf"

// patience is how long a page may take for what a click asks it for.
const patience = 15 * time.Second

// drive starts a browser in the namespace.
func (s *space) drive(f *forms, width, height int) *driver {
	s.w.t.Helper()
	p := s.start("chromedriver", "--port=9515")
	p.wait(s.w.t, "started successfully")
	d := &driver{space: s, client: f.client, session: "http://127.0.0.1:9515/session"}
	answer, _ := d.ask("POST", "", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"goog:chromeOptions": map[string]any{"args": []string{"--headless=new", "--no-sandbox", "--disable-gpu",
			"--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
			"--user-data-dir=" + s.w.t.TempDir(),
			fmt.Sprintf("--window-size=%d,%d", width, height)}}}}}).(map[string]any)
	id, _ := answer["sessionId"].(string)
	if id == "" {
		s.w.t.Fatalf("no session: %v", answer)
	}
	d.session += "/" + id
	s.w.t.Cleanup(func() { d.try("DELETE", "", nil) })
	return d
}

// try asks the driver for something.
func (d *driver) try(method, path string, body any) (any, error) {
	var sent io.Reader
	if method == http.MethodPost {
		if body == nil {
			body = map[string]any{}
		}
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(b)
	}
	r, err := http.NewRequest(method, d.session+path, sent)
	if err != nil {
		return nil, err
	}
	answer, err := d.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var got struct{ Value any }
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %.600v", answer.Status, got.Value)
	}
	return got.Value, nil
}

// ask is try for what must go well.
func (d *driver) ask(method, path string, body any) any {
	d.w.t.Helper()
	value, err := d.try(method, path, body)
	if err != nil {
		d.w.t.Fatalf("%s %s %v: %v", method, path, body, err)
	}
	return value
}

// visit opens a page.
func (d *driver) visit(url string) {
	d.w.t.Helper()
	d.ask("POST", "/url", map[string]any{"url": url})
}

// script runs the body of a function in the page.
func (d *driver) script(body string, args ...any) (any, error) {
	if args == nil {
		args = []any{}
	}
	return d.try("POST", "/execute/sync", map[string]any{"script": body, "args": args})
}

// until waits until the body of a function says something that is true.
func (d *driver) until(what, body string, args ...any) any {
	d.w.t.Helper()
	var value any
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		value, err = d.script(body, args...)
		if err == nil && value != nil && value != false && value != "" {
			return value
		}
	}
	source, _ := d.script(`return location.href + "\n" + document.body.innerText`)
	d.w.t.Fatalf("waiting for %s: %v %v\n%.3000v", what, value, err, source)
	return nil
}

// shown is the first element of an XPath that is displayed, in a script.
const shown = `
	function all(path, below) {
		const found = document.evaluate(path, below || document, null, XPathResult.ORDERED_NODE_SNAPSHOT_TYPE, null);
		return Array.from({length: found.snapshotLength}, (_, i) => found.snapshotItem(i));
	}
	function seen(e) { return e.getClientRects().length > 0 && getComputedStyle(e).visibility != "hidden"; }
	function shown(path, below) { return all(path, below).find(seen) || null; }
`

// element waits for a displayed element, and returns its id.
func (d *driver) element(path string) string {
	d.w.t.Helper()
	found, _ := d.until(path, shown+`return shown(arguments[0])`, path).(map[string]any)
	id, _ := found[elementKey].(string)
	return id
}

// has reports whether an element is displayed.
func (d *driver) has(path string) bool {
	is, _ := d.script(shown+`return !!shown(arguments[0])`, path) // a page that is gone shows nothing
	return is == true
}

// click clicks an element as soon as it is there and nothing is before it.
func (d *driver) click(path string) {
	d.w.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		_, err = d.try("POST", "/element/"+d.element(path)+"/click", nil)
		if err == nil {
			return
		}
	}
	d.w.t.Fatalf("click on %s: %v", path, err)
}

// enter types a text into a field, in place of what is there.
func (d *driver) enter(path, text string) {
	d.w.t.Helper()
	id := d.element(path)
	d.ask("POST", "/element/"+id+"/clear", nil)
	d.ask("POST", "/element/"+id+"/value", map[string]any{"text": text})
}

// option takes the entry of a select element that a text is in, whether it is written Round Robin or ROUND_ROBIN.
func (d *driver) option(path, text string) {
	d.w.t.Helper()
	d.until(path+" with "+text, shown+`
		const menu = shown(arguments[0]);
		const plain = text => text.toLowerCase().replaceAll("_", " ");
		const o = menu && Array.from(menu.options).find(o => plain(o.text).includes(plain(arguments[1])));
		if (!o) return false;
		menu.value = o.value;
		menu.dispatchEvent(new Event("change", {bubbles: true}));
		return true`, path, text)
}

// picture is what the window shows, without the empty space at its end, as a PNG with a palette.
func (d *driver) picture() []byte {
	d.w.t.Helper()
	d.until("the end of all movement", `return document.getAnimations().every(a => a.playState != "running")`)
	text, _ := d.ask("GET", "/screenshot", nil).(string)
	raw, err := base64.StdEncoding.DecodeString(text)
	d.w.check(err)
	whole, err := png.Decode(bytes.NewReader(raw))
	d.w.check(err)
	var b bytes.Buffer
	picture := flat(whole)
	end := picture.Rect.Max.Y
	for ; end > 0; end-- {
		row := picture.Pix[(end-1)*picture.Stride : end*picture.Stride]
		if slices.ContainsFunc(row, func(i uint8) bool { return i != row[0] }) {
			break
		}
	}
	picture.Rect.Max.Y = min(picture.Rect.Max.Y, end+16)
	d.w.check((&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, picture))
	return b.Bytes()
}

// flat gives a picture of few colors a palette: its most frequent ones, and for the others the nearest of these.
func flat(whole image.Image) *image.Paletted {
	at := whole.Bounds()
	count := map[color.RGBA]int{}
	pixel := func(x, y int) color.RGBA {
		r, g, b, _ := whole.At(x, y).RGBA()
		const low = 0xfc // two colors that differ less are one
		return color.RGBA{uint8(r>>8) & low, uint8(g>>8) & low, uint8(b>>8) & low, 255}
	}
	for y := at.Min.Y; y < at.Max.Y; y++ {
		for x := at.Min.X; x < at.Max.X; x++ {
			count[pixel(x, y)]++
		}
	}
	colors := make([]color.RGBA, 0, len(count))
	for c := range count {
		colors = append(colors, c)
	}
	slices.SortFunc(colors, func(a, b color.RGBA) int {
		if n := count[b] - count[a]; n != 0 {
			return n
		}
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	var p color.Palette
	for _, c := range colors[:min(len(colors), 256)] {
		p = append(p, c)
	}
	out := image.NewPaletted(at, p)
	index := map[color.RGBA]uint8{}
	for y := at.Min.Y; y < at.Max.Y; y++ {
		for x := at.Min.X; x < at.Max.X; x++ {
			c := pixel(x, y)
			i, is := index[c]
			if !is {
				i = uint8(p.Index(c))
				index[c] = i
			}
			out.SetColorIndex(x, y, i)
		}
	}
	return out
}
