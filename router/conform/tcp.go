package conform

// tcpChecks are the items of RFC 5382, and of what protects a connection from others (RFC 5961).
func tcpChecks() []Check {
	return nil
}
