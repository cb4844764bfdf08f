package monitor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Codes are the HTTP statuses that a check expects. The zero value expects none.
type Codes struct {
	text   string
	ranges []codeRange
}

type codeRange struct{ first, last int }

// ParseCodes reads statuses as Octavia writes them, "200", "200,202" or
// "200-204", and any mixture with blanks: "200, 204-206".
func ParseCodes(text string) (Codes, error) {
	c := Codes{text: text}
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, okFrom := parseCode(first)
		to, okTo := parseCode(last)
		if !okFrom || !okTo || from > to {
			return Codes{text: text}, fmt.Errorf("monitor: %q is neither a status nor a range of them",
				strings.TrimSpace(part))
		}
		c.ranges = append(c.ranges, codeRange{from, to})
	}
	return c, nil
}

// parseCode: a status has three digits, the first from 1 to 5 (RFC 9110,
// section 15).
func parseCode(text string) (int, bool) {
	text = strings.TrimSpace(text)
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err == nil && len(text) == 3 && n >= 100 && n <= 599
}

// Contain says whether a status is expected.
func (c Codes) Contain(status int) bool {
	return slices.ContainsFunc(c.ranges, func(r codeRange) bool { return r.first <= status && status <= r.last })
}

// String returns the statuses as they were written.
func (c Codes) String() string { return c.text }
