package client

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
)

// What is decoded and written again is the same to a reader of JSON, and no form of it has a control character.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5e3,"x\u001b",null,true,{"b":{}}]}`, `[]`,
		`"\ud83d\ude00"`, `{"a":1,"a":2}`,
		`1 2`, strings.Repeat("[", 100), `{"<<":"=","y":"yes","t":"2026-01-02"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := decode(text)
		if err != nil {
			return
		}
		var want, got any
		if err := json.Unmarshal(text, &want); err != nil {
			return // such as a number that is too large
		}
		for _, indent := range []int{0, 2} {
			again := jsonText(v, indent)
			if err := json.Unmarshal([]byte(again), &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q became %q: %v", text, again, err)
			}
			got = nil
		}
		var yaml strings.Builder
		if err := printYAML(&yaml, v); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for _, s := range []string{jsonText(v, 2), safe(pythonText(v)), yaml.String(), wrap(safe(pythonText(v)), 7)} {
			if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
				t.Fatalf("%q: %q", text, s)
			}
		}
	})
}

func TestWrap(t *testing.T) {
	for _, c := range [][3]string{ // as Python's textwrap
		{"00000000-0000-4000-8000-000000000102", "8", "00000000|-0000-|4000-|8000-|00000000|0102"},
		{"blue, red", "8", "blue,|red"},
		{"availability_zone_hints", "21", "availability_zone_hin|ts"},
		{"one two", "20", "one two"},
		{"", "5", ""},
		{"日本語", "1", "日|本|語"},
	} {
		width := map[string]int{"8": 8, "21": 21, "20": 20, "5": 5, "1": 1}[c[1]]
		if got := strings.ReplaceAll(wrap(c[0], width), "\n", "|"); got != c[2] {
			t.Errorf("%q at %d: %q, want %q", c[0], width, got, c[2])
		}
	}
}
