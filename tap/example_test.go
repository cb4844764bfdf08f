package tap_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/google/gopacket/pcapgo"

	"github.com/taprouter/taprouter/tap"
)

// exampleFrame is a frame of a protocol for experiments, without offload metadata.
func exampleFrame(text string) tap.Frame {
	buf := make([]byte, tap.HeaderLen)
	buf = append(buf, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5)
	buf = append(buf, text...)
	return tap.Frame{Buf: buf, Tail: len(buf)}
}

// Any device may be wrapped, also the far end of a port that router.Engine.Attach returns. What crosses it
// is then in a file that Wireshark and tcpdump read.
func ExampleCapture() {
	var file bytes.Buffer // an *os.File in a bufio.Writer, mostly
	capture, err := tap.NewCaptureWriter(&file, 0)
	if err != nil {
		log.Fatal(err)
	}
	near, far := tap.Pipe("blue", "far end", tap.PipeOptions{})
	dev := tap.Capture(near, capture) // is near, and writes down what it does

	if _, err := far.Write([]tap.Frame{exampleFrame("to the device")}); err != nil {
		log.Fatal(err)
	}
	if _, err := dev.Read([]tap.Frame{{Buf: make([]byte, tap.SlotLen)}}); err != nil {
		log.Fatal(err)
	}
	if _, err := dev.Write([]tap.Frame{exampleFrame("from it")}); err != nil {
		log.Fatal(err)
	}
	if err := capture.Err(); err != nil {
		log.Fatal(err)
	}

	r, err := pcapgo.NewNgReader(&file, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		log.Fatal(err)
	}
	for {
		eth, ci, err := r.ReadPacketData()
		if err != nil {
			break
		}
		name, _ := r.Interface(ci.InterfaceIndex)
		fmt.Printf("%s: %s\n", name.Name, eth[14:])
	}
	// Output:
	// blue: to the device
	// blue: from it
}

// A bad link for a test: with the same seed, the same frames are lost each time.
func ExampleFault() {
	near, far := tap.Pipe("blue", "far end", tap.PipeOptions{})
	dev := tap.Fault(near, tap.FaultOptions{Drop: 0.25, Duplicate: 0.25, Seed: 3})

	for i := range 8 {
		if _, err := dev.Write([]tap.Frame{exampleFrame(fmt.Sprint("frame ", i))}); err != nil {
			log.Fatal(err)
		}
	}
	frames := make([]tap.Frame, 16)
	for i := range frames {
		frames[i].Buf = make([]byte, tap.SlotLen)
	}
	n, err := far.Read(frames)
	if err != nil {
		log.Fatal(err)
	}
	for i := range frames[:n] {
		fmt.Printf("%s\n", frames[i].Ethernet()[14:])
	}
	// Output:
	// frame 0
	// frame 2
	// frame 2
	// frame 3
	// frame 5
	// frame 6
	// frame 7
}
