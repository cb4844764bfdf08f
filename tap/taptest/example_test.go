package taptest_test

import (
	"fmt"
	"time"

	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/taptest"
)

func Example() {
	dev, port := taptest.Pipe("cable")
	defer port.Close()

	// What the test sends, the code under test reads ...
	if err := port.Send([]byte("an Ethernet frame")); err != nil {
		fmt.Println(err)
	}
	frames := []tap.Frame{{Buf: make([]byte, tap.SlotLen)}}
	n, err := dev.Read(frames)
	fmt.Printf("%d %q %v\n", n, frames[0].Ethernet(), err)

	// ... and the other way round.
	if _, err := dev.Write(frames); err != nil {
		fmt.Println(err)
	}
	eth, err := port.Receive(time.Second)
	fmt.Printf("%q %v\n", eth, err)

	_, err = port.Receive(time.Millisecond)
	fmt.Println(err)
	// Output:
	// 1 "an Ethernet frame" <nil>
	// "an Ethernet frame" <nil>
	// taptest: no frame came
}
