package nettest

import (
	"fmt"
	"io"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// A Captured frame was seen at a time since the start of its test.
type Captured struct {
	At    time.Duration
	Frame []byte
}

// epoch is when tests begin, so that their captures are the same every day.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// WritePcap writes frames as a pcap file, which depends on them only.
func WritePcap(w io.Writer, frames []Captured) error {
	p := pcapgo.NewWriterNanos(w)
	if err := p.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		return fmt.Errorf("nettest: write pcap: %w", err)
	}
	for _, f := range frames {
		ci := gopacket.CaptureInfo{Timestamp: epoch.Add(f.At), CaptureLength: len(f.Frame), Length: len(f.Frame)}
		if err := p.WritePacket(ci, f.Frame); err != nil {
			return fmt.Errorf("nettest: write pcap: %w", err)
		}
	}
	return nil
}

// ReadPcap reads what WritePcap has written.
func ReadPcap(r io.Reader) ([]Captured, error) {
	p, err := pcapgo.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("nettest: read pcap: %w", err)
	}
	var frames []Captured
	for {
		b, ci, err := p.ReadPacketData()
		if err == io.EOF {
			return frames, nil
		}
		if err != nil {
			return nil, fmt.Errorf("nettest: read pcap: %w", err)
		}
		frames = append(frames, Captured{ci.Timestamp.Sub(epoch), b})
	}
}
