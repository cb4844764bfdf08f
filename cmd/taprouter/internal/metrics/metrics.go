// Package metrics shows what a router does to Prometheus.
//
// A scrape makes one copy of the router's statistics, in short steps of its workers (router.Inspector). Nothing is
// counted for a packet that the router does not count anyway.
package metrics

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/taprouter/taprouter/router"
)

// A Source is what a router.Inspector says of a router.
type Source interface {
	Stats(ctx context.Context) (router.Stats, error)
	LoadBalancers(ctx context.Context) ([]router.LoadBalancer, error)
	PortsInUse(ctx context.Context) (map[string][]router.SNATAddress, error)
	Workers(ctx context.Context) ([]router.WorkerStats, error)
	LeaseStats() []router.LeaseStats
}

// Options are the settings of Metrics.
type Options struct {
	Version  string        // of the program
	Revision func() uint64 // of the State that is served
}

// Metrics are the metrics of one router. Any goroutine may call the methods.
type Metrics struct {
	registry *prometheus.Registry
	applies  *prometheus.CounterVec
	applying prometheus.Histogram
	storing  prometheus.Histogram
}

// A Result is how a change has ended.
type Result string

// The results.
const (
	Applied   Result = "applied"
	Unchanged Result = "unchanged" // there was nothing to change
	Refused   Result = "refused"   // the change is wrong
	Failed    Result = "failed"    // the change may be right, and could not be made, for want of a disk or a device
)

const (
	// scrapesAtOnce bounds the scrapes that run at the same time.
	scrapesAtOnce = 4
	// scrapeTimeout bounds a scrape: Prometheus waits for ten seconds, unless it is told otherwise.
	scrapeTimeout = 9 * time.Second
)

// New returns the metrics of a router.
func New(from Source, opt Options) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		applies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "taprouter_apply_total", Help: "Changes of the configuration, by how they have ended.",
		}, []string{"result"}),
		applying: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "taprouter_apply_duration_seconds", Help: "How long changes of the configuration take.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9), // up to 6.6 s
		}),
		storing: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "taprouter_store_commit_seconds", Help: "How long it takes until a change is on the disk.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
	}
	for _, r := range []Result{Applied, Unchanged, Refused, Failed} {
		m.applies.WithLabelValues(string(r)) // a rate needs the 0 that comes before the 1
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "taprouter_build_info", Help: "Always 1. The labels say what the program was built of.",
		ConstLabels: prometheus.Labels{"version": opt.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.applies, m.applying, m.storing, build, newCollector(from),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if opt.Revision != nil {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "taprouter_config_generation", Help: "The revision of the configuration that is served.",
		}, func() float64 { return float64(opt.Revision()) }))
	}
	return m
}

// Handler serves scrapes. A client beyond the fourth one at the same time gets 503.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesAtOnce, Timeout: scrapeTimeout,
	})
}

// Applied counts a change of the configuration.
func (m *Metrics) Applied(r Result, took time.Duration) {
	m.applies.WithLabelValues(string(r)).Inc()
	m.applying.Observe(took.Seconds())
}

// Stored counts a change that is on the disk.
func (m *Metrics) Stored(took time.Duration) { m.storing.Observe(took.Seconds()) }
