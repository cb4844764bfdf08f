package lab

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// wrap breaks a text into lines of at most so many columns, of which an ideograph
// takes two. Lines end at blanks, and beside ideographs where a line may end (UAX 14):
// not before closing punctuation, nor behind an opening one. A word that is longer
// than a line has one of its own.
func wrap(text string, width int) []string {
	var lines []string
	line, columns := "", 0
	text = unfold(text)
	for state, unit := -1, ""; text != ""; {
		var segment string
		segment, text, _, state = uniseg.FirstLineSegmentInString(text, state)
		unit += segment
		if text != "" && !endsLine(unit, text) {
			continue
		}
		word := strings.TrimRight(unit, " ")
		if line != "" && columns+uniseg.StringWidth(word) > width {
			lines = append(lines, strings.TrimRight(line, " "))
			line, columns = "", 0
		}
		line += unit
		columns += uniseg.StringWidth(unit)
		unit = ""
	}
	if line = strings.TrimRight(line, " "); line != "" {
		lines = append(lines, line)
	}
	return lines
}

// endsLine says whether a line may end between two texts where the Unicode algorithm
// has it: at a blank or an ideograph, so that addresses, options and URLs stay whole.
func endsLine(before, after string) bool {
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(after)
	return last == ' ' || isWide(last) || isWide(first)
}

// unfold makes one line of a text. Words that were on two lines are parted by a blank,
// Chinese and Japanese text is not.
func unfold(text string) string {
	var b strings.Builder
	last := ' '
	for line := range strings.Lines(text) {
		line = strings.Join(strings.Fields(line), " ")
		if line == "" {
			continue
		}
		first, _ := utf8.DecodeRuneInString(line)
		if b.Len() > 0 && !(isUnspaced(last) && isUnspaced(first)) {
			b.WriteByte(' ')
		}
		b.WriteString(line)
		last, _ = utf8.DecodeLastRuneInString(line)
	}
	return b.String()
}

// isWide says whether a character takes two columns.
func isWide(r rune) bool { return uniseg.StringWidth(string(r)) == 2 }

// isUnspaced says whether a character is of a script without blanks, or its punctuation.
func isUnspaced(r rune) bool { return isWide(r) && !unicode.Is(unicode.Hangul, r) }
