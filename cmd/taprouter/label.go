package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// A labelledDevice is a device of a physical network, as --physical-network has it and Neutron's agents have it in
// bridge_mappings: flat1:eth1. The device may have its kind before it, as in a file.
type labelledDevice struct {
	label  string
	device config.Device
}

// UnmarshalText reads LABEL:DEVICE. A device without a kind is an interface that exists, as in bridge_mappings. A TAP
// would be made if its name were misspelled.
func (d *labelledDevice) UnmarshalText(text []byte) error {
	label, device, found := strings.Cut(string(text), ":")
	if !found || label == "" || device == "" {
		return fmt.Errorf("%q is no LABEL:DEVICE, such as flat1:eth1", text)
	}
	if !strings.Contains(device, ":") {
		device = string(config.DeviceRaw) + ":" + device
	}
	dev, err := config.ParseDevice(device)
	if err != nil {
		return err
	}
	*d = labelledDevice{label, dev}
	return nil
}

// physicalNetworks are the physical networks of devices with labels, in the order of the labels. A label may have
// several devices.
func physicalNetworks(list []labelledDevice) []file.PhysicalNetwork {
	var all []file.PhysicalNetwork
	for _, d := range list {
		i := slices.IndexFunc(all, func(p file.PhysicalNetwork) bool { return p.Name == d.label })
		if i < 0 {
			i = len(all)
			all = append(all, file.PhysicalNetwork{Name: d.label})
		}
		all[i].Devices = append(all[i].Devices, d.device)
	}
	return all
}
