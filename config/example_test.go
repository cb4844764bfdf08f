package config_test

import (
	"fmt"

	"github.com/taprouter/taprouter/config"
)

func ExampleParseDevice() {
	for _, text := range []string{"tap:tap100@red", "raw:eth1", "tap:much-too-long-name"} {
		d, err := config.ParseDevice(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%s: %s %q in %q\n", d, d.Kind, d.Name, d.Netns)
	}
	// Output:
	// tap:tap100@red: tap "tap100" in "red"
	// raw:eth1: raw "eth1" in ""
	// device "tap:much-too-long-name": an interface name has at most 15 bytes, this one has 18
}
