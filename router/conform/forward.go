package conform

// routerChecks are the items of RFC 1812 and its companions.
func routerChecks() []Check {
	return nil
}
