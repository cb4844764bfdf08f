package conform

// arpChecks are the items of RFC 826 and 5227.
func arpChecks() []Check {
	return nil
}
