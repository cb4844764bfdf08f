package archtest

import (
	"bufio"
	"bytes"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	maxLine = 120 // columns
	tabWide = 4   // columns of a tab, as most editors of Go show it
)

// A line of Go ends by column 120. A struct tag may be longer, because Go has no way to break it, and so may the lines
// of a raw string.
func TestLinesEndInTime(t *testing.T) {
	const root = "../.."
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files++
		return checkLines(t, filepath.ToSlash(name), path)
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files found", files)
	}
}

func checkLines(t *testing.T, name, path string) error {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	raw := rawLines(text)
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		if w := width(lines.Text()); w > maxLine && !isTag(lines.Text()) && !raw[n] {
			t.Errorf("%s:%d: %d columns, want at most %d (a tab has %d)", name, n, w, maxLine, tabWide)
		}
	}
	return lines.Err()
}

// rawLines are the lines that a raw string of several lines is on. They are a text of their own: what a test wants to
// read, for example.
func rawLines(text []byte) map[int]bool {
	lines := map[int]bool{}
	var s scanner.Scanner
	file := token.NewFileSet().AddFile("", -1, len(text))
	s.Init(file, text, nil, 0)
	for {
		pos, kind, literal := s.Scan()
		if kind == token.EOF {
			return lines
		}
		if n := strings.Count(literal, "\n"); kind == token.STRING && n > 0 {
			for k := range n + 1 {
				lines[file.Line(pos)+k] = true
			}
		}
	}
}

// width is what a line takes on a screen, in columns.
func width(line string) int {
	w := 0
	for i, part := range strings.Split(line, "\t") {
		if i > 0 {
			w += tabWide - w%tabWide
		}
		w += utf8.RuneCountInString(part)
	}
	return w
}

// isTag reports whether a line is a struct's field with a tag.
func isTag(line string) bool {
	return strings.HasSuffix(line, "\"`") && strings.Count(line, "`") == 2 && strings.Contains(line, ":\"")
}

func TestWidth(t *testing.T) {
	for line, want := range map[string]int{"": 0, "ab": 2, "\ta": 5, "ab\tc": 5, "abcd\te": 9, "\t\té": 9} {
		if got := width(line); got != want {
			t.Errorf("%q: %d columns, want %d", line, got, want)
		}
	}
}
