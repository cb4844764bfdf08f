package main

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Each contestant has its colour in every plot.
var colours = map[string]color.Color{
	"kernel":                          color.RGBA{0x99, 0x99, 0x99, 0xff},
	"kernel, GRO off":                 color.RGBA{0xcc, 0xcc, 0xcc, 0xff},
	"taprouter":                       color.RGBA{0x00, 0x72, 0xb2, 0xff},
	"taprouter, gro off":              color.RGBA{0xcc, 0x79, 0xa7, 0xff},
	"taprouter, raw on veth":          color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	"taprouter, raw on veth, gro off": color.RGBA{0xe5, 0xb8, 0xd1, 0xff},
	"gVisor netstack":                 color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	"water + gopacket":                color.RGBA{0xd5, 0x5e, 0x00, 0xff},
}

// dots are the values of all rounds on a bar, from left to right in the order of the rounds.
type dots struct {
	x             []float64 // places on the axis
	values        [][]float64
	offset, width vg.Length // of the bar
}

// Plot draws the dots. Bars at either end reach beyond the canvas, and so do their dots.
func (d dots) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	style := draw.GlyphStyle{Color: color.RGBA{0, 0, 0, 0xb0}, Radius: vg.Points(1), Shape: draw.CircleGlyph{}}
	for i, values := range d.values {
		for k, v := range values {
			part := (float64(k)+0.5)/float64(len(values)) - 0.5
			c.DrawGlyphNoClip(style, vg.Point{X: toX(d.x[i]) + d.offset + d.width*vg.Length(part), Y: toY(v)})
		}
	}
}

// plot draws the medians of a group as bars, with a dot for each round.
func (r *results) plot(g group, file string) error {
	plot.DefaultFont.Variant = "Sans"
	p := plot.New()
	p.Title.Text = g.title
	p.Y.Label.Text = g.rows[0].Unit
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding, p.Legend.XOffs = vg.Points(2), vg.Points(6)
	p.Add(plotter.NewGrid())
	const width, gap = 14, 18
	var rows []*measuredRow
	for _, k := range g.rows {
		if k.Unit == g.rows[0].Unit { // others have no place on this axis
			rows = append(rows, k)
		}
	}
	most := 0.0
	for i, who := range g.who {
		values := make(plotter.Values, len(rows))
		d := dots{offset: vg.Points(width * (float64(i) - float64(len(g.who)-1)/2)), width: vg.Points(width)}
		for k := range rows {
			v := rows[k].Values[who].measured()
			d.x, d.values = append(d.x, float64(k)), append(d.values, v)
			for _, one := range v {
				most = max(most, one)
			}
			if len(v) > 0 {
				values[k] = median(v)
			}
		}
		bars, err := plotter.NewBarChart(values, d.width)
		if err != nil {
			return err
		}
		bars.LineStyle.Width = 0
		bars.Color = colours[who]
		if bars.Color == nil {
			bars.Color = color.RGBA{0x00, 0x9e, 0x73, 0xff}
		}
		bars.Offset = d.offset
		p.Add(bars, d)
		p.Legend.Add(who, bars)
	}
	p.Y.Max = max(most, 1e-9) * 1.5 // room for the legend
	var names []string
	for _, k := range rows {
		names = append(names, k.Title)
	}
	p.NominalX(names...)
	p.X.Tick.Label.Rotation = 0.4
	p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = text.XRight, text.YTop
	w := vg.Points(float64(140 + len(rows)*max(90, len(g.who)*width+gap)))
	return p.Save(w, vg.Points(330), file)
}
