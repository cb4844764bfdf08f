package config

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// UnknownWord says that got is none of the known words, and which one was probably
// meant. The argument what is a noun: key, protocol, network.
func UnknownWord(what, got string, known []string) string {
	text := fmt.Sprintf("unknown %s %q", what, got)
	if near := Nearest(got, known); near != "" {
		return fmt.Sprintf("%s; did you mean %q?", text, near)
	}
	return text
}

// UnknownOf is UnknownWord for words of a small fixed set, which it lists when none
// is near.
func UnknownOf(what, got string, known []string) string {
	text := UnknownWord(what, got, known)
	if Nearest(got, known) == "" {
		text += "; known: " + strings.Join(known, ", ")
	}
	return text
}

// maxSuggested is the longest word, in bytes, that is compared with others: the time for
// that grows with the square.
const maxSuggested = 255

// Nearest finds the known word that got is probably a misspelling of: at most a
// third of it wrong, or else a part of it. Empty: there is none. The first of
// several equally near words wins.
func Nearest(got string, known []string) string {
	if len(got) > maxSuggested {
		return ""
	}
	got = strings.ToLower(got)
	best, limit := "", max(1, len(got)/3)+1
	for _, word := range known {
		if len(word) > maxSuggested {
			continue
		}
		if d := distance(got, strings.ToLower(word)); d < limit {
			best, limit = word, d
		}
	}
	if best != "" || len(got) < 3 {
		return best
	}
	for _, word := range known {
		if strings.Contains(strings.ToLower(word), got) {
			return word
		}
	}
	return ""
}

// distance counts the characters that must be inserted, removed, replaced or
// swapped with their neighbor to make b of a. (Optimal string alignment.)
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+1)
			if x[i-1] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-1][j-1])
			} else if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}

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

// quoted is a name as messages write it. Addresses and prefixes go unquoted.
func quoted(name string) string {
	name = clip(name, maxName)
	if isAddress(name) {
		return name
	}
	return fmt.Sprintf("%q", name)
}

func isAddress(text string) bool {
	if _, err := netip.ParsePrefix(text); err == nil {
		return true
	}
	_, err := netip.ParseAddr(text)
	return err == nil
}
