package conform

// fragmentChecks are about fragments, whoever made them.
func fragmentChecks() []Check {
	return nil
}
