package main

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// Each contestant has its colour in every plot.
var colours = map[string]color.Color{
	"kernel":                 color.RGBA{0x99, 0x99, 0x99, 0xff},
	"taprouter":              color.RGBA{0x00, 0x72, 0xb2, 0xff},
	"taprouter, raw on veth": color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	"gVisor netstack":        color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	"water + gopacket":       color.RGBA{0xd5, 0x5e, 0x00, 0xff},
}

// plot draws the medians of a group as bars.
func (b *bench) plot(g group, file string) error {
	plot.DefaultFont.Variant = "Sans"
	p := plot.New()
	p.Title.Text = g.title
	p.Y.Label.Text = g.rows[0].unit
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding, p.Legend.XOffs = vg.Points(2), vg.Points(6)
	p.Add(plotter.NewGrid())
	const width, gap = 14, 18
	var rows []row
	for _, k := range g.rows {
		if k.unit == g.rows[0].unit { // others have no place on this axis
			rows = append(rows, k)
		}
	}
	most := 0.0
	for i, who := range g.who {
		values := make(plotter.Values, len(rows))
		for k := range rows {
			if v := b.results.values[rows[k]][who]; len(v) > 0 {
				values[k] = median(v)
				most = max(most, values[k])
			}
		}
		bars, err := plotter.NewBarChart(values, vg.Points(width))
		if err != nil {
			return err
		}
		bars.LineStyle.Width = 0
		bars.Color = colours[who]
		if bars.Color == nil {
			bars.Color = color.RGBA{0x00, 0x9e, 0x73, 0xff}
		}
		bars.Offset = vg.Points(width * (float64(i) - float64(len(g.who)-1)/2))
		p.Add(bars)
		p.Legend.Add(who, bars)
	}
	p.Y.Max = most * 1.5 // room for the legend
	var names []string
	for _, k := range rows {
		names = append(names, k.title)
	}
	p.NominalX(names...)
	p.X.Tick.Label.Rotation = 0.4
	p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = text.XRight, text.YTop
	w := vg.Points(float64(140 + len(rows)*max(90, len(g.who)*width+gap)))
	return p.Save(w, vg.Points(330), file)
}
