package config

import (
	"fmt"
	"strings"
)

// A Code says what kind of fault it is, for callers that branch on it: an API answers with a status by the
// code.
type Code uint8

// The codes.
const (
	Invalid     Code = iota // a value cannot be that, or not together with another one
	Unknown                 // it refers to an object that does not exist
	Taken                   // an address, MAC or endpoint is another object's
	InUse                   // other objects need the object that is to be deleted or changed
	Exhausted               // nothing is left to choose from
	Unreached               // no router, or more than one, does what the object needs
	ReadOnly                // the attribute cannot be changed
	Unsupported             // the router cannot do that yet
)

// A Fault is one thing that is wrong with an object. The Message names the thing and the way out, without
// the place: String puts that in front.
type Fault struct {
	Ref Ref
	// the attribute's key in the topology file, such as "gateway.network" or "fixed_ips[1]"; empty: the object
	Field   string
	Code    Code
	Message string
	Source  Source // of the field if it is known, else of the object
	Warning bool   // allowed, but unwise
	More    int    // if it is not 0, the fault stands for so many that are not listed
}

// String gives the fault in the form FILE:LINE: MESSAGE. A file or a line that is unknown is left out.
func (f Fault) String() string {
	switch s := f.Source; {
	case s.File != "" && s.Line > 0:
		return fmt.Sprintf("%s:%d: %s", s.File, s.Line, f.Message)
	case s.File != "":
		return s.File + ": " + f.Message
	case s.Line > 0:
		return fmt.Sprintf("line %d: %s", s.Line, f.Message)
	}
	return f.Message
}

// Faults is what Draft.Check has found: faults and warnings, in the order in which they were found.
type Faults []Fault

// Error lists the faults, one a line, warnings left out.
func (fs Faults) Error() string {
	var lines []string
	for _, f := range fs {
		if !f.Warning {
			lines = append(lines, f.String())
		}
	}
	return strings.Join(lines, "\n")
}

// Err returns the faults as an error, nil if there are none but warnings.
func (fs Faults) Err() error {
	errors := fs.Errors()
	if len(errors) == 0 {
		return nil
	}
	return errors
}

// Errors returns the faults without the warnings.
func (fs Faults) Errors() Faults { return fs.only(false) }

// Warnings returns the warnings alone.
func (fs Faults) Warnings() Faults { return fs.only(true) }

func (fs Faults) only(warnings bool) Faults {
	var list Faults
	for _, f := range fs {
		if f.Warning == warnings {
			list = append(list, f)
		}
	}
	return list
}
