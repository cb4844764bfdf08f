package metrics_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/metrics"
)

// dashboards are in this directory.
const dashboards = "../../../../examples/grafana"

var (
	metricName = regexp.MustCompile(`\b(?:taprouter|process|go)_[a-z0-9_]+`)
	labelUse   = regexp.MustCompile(`(taprouter_[a-z0-9_]+)\{([^}]*)\}`)
	groupUse   = regexp.MustCompile(`by \(([^)]*)\)`)
	legendUse  = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
	series     = regexp.MustCompile(`(?m)^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? `)
	labelName  = regexp.MustCompile(`([a-z_]+)="`)
)

// Every query of the dashboards names metrics that a scrape has, with labels that they have.
func TestDashboardsNameWhatThereIs(t *testing.T) {
	_, m := serve(t, cloud)
	m.Applied(metrics.Applied, 1)
	labels := map[string][]string{} // of each metric
	for _, s := range series.FindAllStringSubmatch(scrape(t, m), -1) {
		for _, l := range labelName.FindAllStringSubmatch(s[2], -1) {
			labels[s[1]] = append(labels[s[1]], l[1])
		}
		labels[s[1]] = append(labels[s[1]], "instance") // Prometheus adds it
	}
	// Of these a router that has dropped nothing has no series yet.
	labels["taprouter_unsent_total"] = []string{"reason", "instance"}
	files, err := filepath.Glob(filepath.Join(dashboards, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no dashboards", err)
	}
	queries := 0
	for _, file := range files {
		for _, q := range queriesOf(t, file) {
			queries++
			checkQuery(t, file, q, labels)
		}
	}
	if queries < 30 {
		t.Errorf("only %d queries", queries)
	}
}

func checkQuery(t *testing.T, file string, q query, labels map[string][]string) {
	t.Helper()
	names := metricName.FindAllString(q.Expr, -1)
	if len(names) == 0 {
		t.Errorf("%s: %q names no metric", file, q.Expr)
	}
	var has []string
	for _, name := range names {
		if labels[name] == nil {
			t.Errorf("%s: %q: no scrape has %s", file, q.Expr, name)
		}
		has = append(has, labels[name]...)
	}
	var used []string
	for _, u := range labelUse.FindAllStringSubmatch(q.Expr, -1) {
		for l := range strings.SplitSeq(u[2], ",") {
			used = append(used, strings.FieldsFunc(l, func(r rune) bool { return strings.ContainsRune(`=~!"`, r) })[0])
		}
	}
	for _, g := range groupUse.FindAllStringSubmatch(q.Expr, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			used = append(used, strings.TrimSpace(l))
		}
	}
	for _, l := range legendUse.FindAllStringSubmatch(q.Legend, -1) {
		used = append(used, l[1])
	}
	for _, l := range used {
		if !slices.Contains(has, l) {
			t.Errorf("%s: %q: no metric of it has the label %q", file, q.Expr, l)
		}
	}
}

// A query is one line of a panel.
type query struct {
	Expr   string `json:"expr"`
	Legend string `json:"legendFormat"`
}

func queriesOf(t *testing.T, file string) (all []query) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			Targets []query
		}
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("%s: panel %d %q: an id twice, no title, or no query", file, p.ID, p.Title)
		}
		ids[p.ID] = true
		all = append(all, p.Targets...)
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			all = append(all, query{Expr: v.Query})
		}
	}
	return all
}
