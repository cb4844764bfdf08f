package config

// A Code says what kind of fault it is, for callers that branch on it: an API answers with a status by the
// code.
type Code uint8

// The codes.
const (
	Invalid   Code = iota // a value cannot be that, or not together with another one
	Unknown               // it refers to an object that does not exist
	Taken                 // an address, MAC or endpoint is another object's
	InUse                 // other objects need what is to be deleted or changed
	Exhausted             // nothing is left to choose from
	ReadOnly              // the attribute cannot be changed
)

// A Fault is one thing that is wrong with an object. The Message names the thing and the way out, without
// the place: whoever prints it puts the place of Source in front.
type Fault struct {
	Ref     Ref
	Field   string // the attribute's key in the topology file, such as "gateway" or "fixed_ips[1]"; empty: the object
	Code    Code
	Message string
	Source  Source // of the field if it is known, else of the object
	Warning bool   // allowed, but unwise
}
