package file

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxSuggested is the longest word, in bytes, that is compared with others.
const maxSuggested = 255

// Bounds of what a message repeats of the file. A name may be as long as the file, and have
// thousands of faults in its table.
const (
	maxListed = 16   // things that a message lists
	maxName   = 255  // bytes of a name that a message begins with
	maxText   = 4096 // bytes of any other text
)

// clip shortens a text to about n bytes.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "..."
}

// listed writes the first of many things, and how many more there are.
func listed[T any](all []T, text func(T) string) string {
	var list []string
	for _, v := range all[:min(len(all), maxListed)] {
		list = append(list, text(v))
	}
	written := strings.Join(list, ", ")
	if len(all) > maxListed {
		written += " and more"
	}
	return written
}

// label names the i-th of several objects, by its id where it has one.
// Addresses and prefixes go unquoted.
func label(id string, i int) string {
	id = clip(id, maxName)
	switch {
	case id == "":
		return fmt.Sprintf("#%d", i+1)
	case isAddress(id):
		return id
	}
	return fmt.Sprintf("%q", id)
}
