//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// A fieldValue is what a person puts into a field of a form. A choice is named by a part of its text, a box is
// checked by "on".
type fieldValue struct{ name, value string }

// forms is a person at the dashboard without a browser: pages are read and forms are sent as browsers do it. Scripts
// do not run; what they would ask is asked by call.
type forms struct {
	*world
	client  *http.Client
	base    string // http://127.0.0.1:8000
	refused bool   // the next complaint is expected, and is said
	said    string
}

// newForms returns a person whose network is a namespace's.
func newForms(s *space, base string) *forms {
	jar, _ := cookiejar.New(nil) // it never returns an error
	dial := func(_ context.Context, network, address string) (c net.Conn, err error) {
		err = s.within(func() error {
			c, err = net.DialTimeout(network, address, 5*time.Second)
			return err
		})
		return c, err
	}
	return &forms{world: s.w, base: base, client: &http.Client{Jar: jar, Timeout: 30 * time.Second,
		Transport: &http.Transport{DialContext: dial}}}
}

// page is what a request has led to, after redirections. What Horizon complains about fails the test.
func (f *forms) page(r *http.Request) *html.Node {
	f.t.Helper()
	answer, err := f.client.Do(r)
	f.check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	f.check(err)
	at := answer.Request.Method + " " + answer.Request.URL.RequestURI()
	if answer.StatusCode != http.StatusOK {
		f.t.Fatalf("%s: %s\n%.3000s", at, answer.Status, body)
	}
	root, err := html.Parse(bytes.NewReader(body))
	f.check(err)
	wrong := complaints(root)
	if f.refused && len(wrong) != 0 {
		f.refused, f.said = false, strings.Join(wrong, " ")
		return root
	}
	if len(wrong) != 0 {
		f.t.Fatalf("%s %s says at %s: %q", r.Method, r.URL.RequestURI(), at, wrong)
	}
	// A form that was sent leads elsewhere. If it comes back, something in it is wrong.
	if answer.Request.Method == http.MethodPost {
		f.t.Fatalf("%s comes back", at)
	}
	return root
}

func (f *forms) get(path string) *html.Node {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.base+path, nil)
	f.check(err)
	return f.page(r)
}

func (f *forms) post(path string, values url.Values) *html.Node {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.base+path,
		strings.NewReader(values.Encode()))
	f.check(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Referer", f.base+path)
	return f.page(r)
}

// logIn leads to the first page.
func (f *forms) logIn() {
	f.t.Helper()
	f.fill("", "/auth/login/", fieldValue{"username", "admin"}, fieldValue{"password", "x"})
}

// fill sends a form with values, the rest as it was. The page that has the link to it does not matter here.
func (f *forms) fill(_, form string, values ...fieldValue) {
	f.t.Helper()
	node := find(f.get(form), func(n *html.Node) bool {
		return n.Data == "form" && strings.EqualFold(attribute(n, "method"), "post") &&
			fieldOf(n, values[0].name) != nil
	})
	if node == nil {
		f.t.Fatalf("%s: no form has the field %s", form, values[0].name)
	}
	sent := valuesOf(node)
	for _, v := range values {
		field := fieldOf(node, v.name)
		switch {
		case field == nil:
			f.t.Fatalf("%s: no field %s", form, v.name)
		case field.Data == "select":
			v.value = f.choice(form, field, v.value)
		case attribute(field, "type") == "checkbox" && v.value == "":
			sent.Del(v.name)
			continue
		}
		sent.Set(v.name, v.value)
	}
	to := strings.TrimSpace(attribute(node, "action"))
	if to == "" {
		to = form
	}
	f.post(to, sent)
}

// choice is the value of the one choice whose text has a part.
func (f *forms) choice(form string, field *html.Node, part string) string {
	f.t.Helper()
	var all, found []string
	for o := range elements(field, "option") {
		text := words(o)
		all = append(all, text)
		if attribute(o, "value") != "" && strings.Contains(text, part) {
			found = append(found, attribute(o, "value"))
		}
	}
	if len(found) != 1 {
		f.t.Fatalf("%s: %d choices of %s have %q: %q", form, len(found), attribute(field, "name"), part, all)
	}
	return found[0]
}

// press presses a button of a table's row, and says yes.
func (f *forms) press(page, action, row string) {
	f.t.Helper()
	root := f.get(page)
	id := f.idIn(page, root, row)
	table, _, _ := strings.Cut(action, "__")
	node := find(root, func(n *html.Node) bool {
		return n.Data == "button" && attribute(n, "name") == "action" && attribute(n, "value") == action+"__"+id
	})
	if node == nil {
		f.t.Fatalf("%s: %s has no button %s", page, row, action)
	}
	form := find(root, func(n *html.Node) bool {
		return n.Data == "form" && find(n, func(in *html.Node) bool { return in == node }) != nil
	})
	if form == nil {
		f.t.Fatalf("%s: the table %s is in no form", page, table)
	}
	sent := valuesOf(form)
	sent.Set("action", action+"__"+id)
	f.post(page, sent)
}

// id is that of a table's row, by what the row is called.
func (f *forms) id(page, row string) string {
	f.t.Helper()
	return f.idIn(page, f.get(page), row)
}

func (f *forms) idIn(page string, root *html.Node, row string) string {
	f.t.Helper()
	return attribute(f.rowIn(page, root, row), "data-object-id")
}

func (f *forms) rowIn(page string, root *html.Node, row string) *html.Node {
	f.t.Helper()
	var all []string
	var found []*html.Node
	for tr := range elements(root, "tr") {
		if name := attribute(tr, "data-display"); name != "" {
			all = append(all, name)
			if name == row {
				found = append(found, tr)
			}
		}
	}
	if len(found) != 1 {
		f.t.Fatalf("%s: %d rows are called %q, of %q", page, len(found), row, all)
	}
	return found[0]
}

// sees wants texts in a table's row.
func (f *forms) sees(page, row string, texts ...string) {
	f.t.Helper()
	got := words(f.rowIn(page, f.get(page), row))
	for _, text := range texts {
		if !strings.Contains(got, text) {
			f.t.Errorf("%s: %q is not in the row %q", page, text, got)
		}
	}
}

// call asks what scripts of a page ask, in JSON, and returns the answer.
func (f *forms) call(method, path string, body any) any {
	f.t.Helper()
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		f.check(err)
		sent = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.base+path, sent)
	f.check(err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Requested-With", "XMLHttpRequest")
	for _, c := range f.client.Jar.Cookies(r.URL) {
		if c.Name == "csrftoken" {
			r.Header.Set("X-CSRFToken", c.Value)
		}
	}
	answer, err := f.client.Do(r)
	f.check(err)
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	f.check(err)
	if answer.StatusCode/100 != 2 {
		f.t.Fatalf("%s %s: %s %.2000s", method, path, answer.Status, got)
	}
	var value any
	if len(bytes.TrimSpace(got)) != 0 {
		f.check(json.Unmarshal(got, &value))
	}
	return value
}

// items is the list that a page's scripts ask for.
func (f *forms) items(path string) []map[string]any {
	f.t.Helper()
	whole, _ := f.call(http.MethodGet, path, nil).(map[string]any)
	list, is := whole["items"].([]any)
	if !is {
		f.t.Fatalf("%s: no items in %v", path, whole)
	}
	var all []map[string]any
	for _, each := range list {
		o, _ := each.(map[string]any)
		all = append(all, o)
	}
	return all
}

// elements are the elements of a kind below a node, in their order.
func elements(root *html.Node, kind string) func(yield func(*html.Node) bool) {
	return func(yield func(*html.Node) bool) {
		for n := range root.Descendants() {
			if n.Type == html.ElementNode && n.Data == kind && !yield(n) {
				return
			}
		}
	}
}

// find is the first element that is wanted, the node itself included.
func find(root *html.Node, wanted func(*html.Node) bool) *html.Node {
	if root.Type == html.ElementNode && wanted(root) {
		return root
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && wanted(n) {
			return n
		}
	}
	return nil
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
}

func hasClass(n *html.Node, class string) bool {
	return slices.Contains(strings.Fields(attribute(n, "class")), class)
}

// words are the texts below a node, with one blank between words.
func words(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// complaints are what a page shows in red: messages, and errors of fields.
func complaints(root *html.Node) (all []string) {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && (hasClass(n, "alert-danger") || hasClass(n, "alert-error") ||
			hasClass(n, "alert-warning") || hasClass(n, "errorlist")) {
			if text := words(n); text != "" {
				all = append(all, text)
			}
		}
	}
	return all
}

// fieldOf is the field of a form by its name.
func fieldOf(form *html.Node, name string) *html.Node {
	return find(form, func(n *html.Node) bool {
		return (n.Data == "input" || n.Data == "select" || n.Data == "textarea") && attribute(n, "name") == name
	})
}

// valuesOf is what a browser sends if a form is left as it is.
func valuesOf(form *html.Node) url.Values {
	sent := url.Values{}
	for n := range form.Descendants() {
		name := attribute(n, "name")
		if n.Type != html.ElementNode || name == "" || has(n, "disabled") {
			continue
		}
		switch n.Data {
		case "input":
			switch attribute(n, "type") {
			case "submit", "button", "image", "reset", "file":
			case "checkbox", "radio":
				if has(n, "checked") {
					value := "on"
					if has(n, "value") {
						value = attribute(n, "value")
					}
					sent.Add(name, value)
				}
			default:
				sent.Add(name, attribute(n, "value"))
			}
		case "textarea":
			sent.Add(name, words(n))
		case "select":
			for _, value := range chosen(n) {
				sent.Add(name, value)
			}
		}
	}
	return sent
}

// chosen are the values of a select element: of a single choice the first, if none is selected.
func chosen(n *html.Node) (values []string) {
	var first *html.Node
	for o := range elements(n, "option") {
		if first == nil {
			first = o
		}
		if has(o, "selected") {
			values = append(values, attribute(o, "value"))
		}
	}
	if len(values) == 0 && first != nil && !has(n, "multiple") {
		values = []string{attribute(first, "value")}
	}
	return values
}

// The reader of forms sends what a browser would.
func TestFormReader(t *testing.T) {
	root, err := html.Parse(strings.NewReader(`<form method="post"><input type="hidden" name="h" value="1">
		<input type="checkbox" name="on" checked><input type="checkbox" name="off"><input name="text" value="t">
		<input type="submit" name="go" value="Go"><input name="gone" value="x" disabled>
		<select name="first"><option value="a">A<option value="b">B</select>
		<select name="second"><option value="a">A<option value="b" selected>B</select>
		<select name="many" multiple><option value="a">A</select>
		<textarea name="area"> x y </textarea></form><p class="alert alert-danger">Error: no</p>`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "area=x+y&first=a&h=1&on=on&second=b&text=t"
	if got := valuesOf(root).Encode(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := fmt.Sprintf("%q", complaints(root)); got != `["Error: no"]` {
		t.Errorf("complaints: %s", got)
	}
}
