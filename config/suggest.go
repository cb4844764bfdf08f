package config

import (
	"fmt"
	"strings"
)

// unknown says that got is none of the known words, and which one was probably
// meant. What is a noun: key, protocol, network.
func unknown(what, got string, known []string) string {
	text := fmt.Sprintf("unknown %s %q", what, got)
	if near := nearest(got, known); near != "" {
		return fmt.Sprintf("%s; did you mean %q?", text, near)
	}
	return text
}

// unknownOf is unknown for words of a small fixed set, which it lists when none
// is near.
func unknownOf(what, got string, known []string) string {
	text := unknown(what, got, known)
	if nearest(got, known) == "" {
		text += "; known: " + strings.Join(known, ", ")
	}
	return text
}

// maxSuggested is the longest word, in bytes, that is compared with others: the time for
// that grows with the square.
const maxSuggested = 255

// nearest finds the known word that got is probably a misspelling of: at most a
// third of it wrong, or else a part of it. Empty: there is none. The first of
// several equally near words wins.
func nearest(got string, known []string) string {
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

// label names the i-th of several objects, by its id where it has one.
// Addresses and prefixes go unquoted.
func label(id string, i int) string {
	switch {
	case id == "":
		return fmt.Sprintf("#%d", i+1)
	case isAddress(id):
		return id
	}
	return fmt.Sprintf("%q", id)
}
