package tap

// CheckName is checkName.
var CheckName = checkName
