package main

// A mode is what the contestant does with the packets, and where they come from.
type mode string

const (
	route    mode = "routing"
	snat     mode = "SNAT"
	floating mode = "floating IP"
	vip      mode = "VIP"
	// shared is SNAT for two tenants: the internal host, and a host behind a device of its own, "flood", which sends
	// as much as it can.
	shared mode = "SNAT, two tenants"
	// web is HTTP from outside to a floating IP, behind which a VIP of the tenant network has two members: the usual
	// work of a load balancer.
	web mode = "floating IP and VIP"
	// mtu is SNAT for a host without offloads: its frames are no longer than the MTU, as those of a network card.
	mtu mode = "SNAT, MTU frames"
	// unchanged is SNAT with a table and shares of the default size.
	unchanged mode = "SNAT, default settings"
	// untagged and tagged are SNAT for hosts behind a switch: with a device for each network, and with a trunk on
	// which each network has a VLAN.
	untagged mode = "SNAT, behind a switch"
	tagged   mode = "SNAT, VLANs of a trunk"
)

// outbound reports whether the internal host opens the connections.
func (m mode) outbound() bool {
	switch m {
	case floating, vip, web:
		return false
	}
	return true
}

// switched reports whether a switch is between the hosts and the contestant.
func (m mode) switched() bool { return m == untagged || m == tagged }

// together reports whether measurements of two modes come in turn, in one round.
func (m mode) together(o mode) bool { return m == o || m.switched() && o.switched() }

// target is the address that a client connects to.
func (m mode) target() string {
	switch m {
	case floating:
		return floatingIP
	case vip, web:
		return vipAddress
	}
	return externalHost
}

// client is the namespace that opens connections, server the one that answers.
func (w *world) client(m mode) string {
	if m.outbound() {
		return w.internal
	}
	return w.external
}

func (w *world) server(m mode) string {
	if m.outbound() {
		return w.external
	}
	return w.internal
}
