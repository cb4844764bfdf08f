package conform

// icmpChecks are the items of RFC 5508, and path MTU discovery and traceroute through every kind of translation.
func icmpChecks() []Check {
	return nil
}
