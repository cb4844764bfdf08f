package conform

// staticChecks are about floating IPs, forwarded ports and VIPs.
func staticChecks() []Check {
	return nil
}
