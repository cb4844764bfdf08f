package conform

// attackChecks are about who suffers when somebody takes more than a share.
func attackChecks() []Check {
	return nil
}
