package client

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// ManCommand writes the manual pages, for packages.
type ManCommand struct {
	Directory string `arg:"" type:"path" help:"Directory to write the pages to; it is made."`
}

// Run writes taprouter.1, and a page for each command that speaks to a router.
func (c *ManCommand) Run(k *kong.Context) error {
	if err := os.MkdirAll(c.Directory, 0o755); err != nil {
		return err
	}
	root := k.Model.Node
	if err := c.write("taprouter", func(p *page) { p.program(root, k.Model.Help) }); err != nil {
		return err
	}
	for _, n := range root.Children {
		if n.Hidden || !speaks(n) {
			continue
		}
		if err := c.write("taprouter-"+n.Name, func(p *page) { p.command(root, n) }); err != nil {
			return err
		}
	}
	return nil
}

func (c *ManCommand) write(name string, text func(p *page)) error {
	f, err := os.Create(filepath.Join(c.Directory, name+".1"))
	if err != nil {
		return err
	}
	p := &page{bufio.NewWriter(f)}
	p.line(`.\" Made of the program's own help by "taprouter man".`)
	p.line(`.TH %s 1 "" taprouter "User Commands"`, strings.ToUpper(roff(name)))
	text(p)
	if err := p.Flush(); err != nil {
		_ = f.Close() // the first error is the one to tell
		return err
	}
	return f.Close()
}

// A page is a manual page on its way to a file.
type page struct{ *bufio.Writer }

// line writes a line of roff. An error stays in the Writer.
func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// text writes paragraphs.
func (p *page) text(s string) {
	for line := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
		p.line("%s", roff(strings.TrimSpace(line)))
	}
}

// roff escapes what the formatter takes for a command.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, `-`, `\-`, "`", `\(ga`, `'`, `\(aq`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

func (p *page) program(root *kong.Node, help string) {
	about, examples, _ := strings.Cut(help, "\n\nExamples:\n")
	p.line(".SH NAME\ntaprouter \\- a virtual router in one process")
	p.line(".SH SYNOPSIS\n.B taprouter\n.I command\n.RI [ options ]")
	p.line(".SH DESCRIPTION")
	p.text(about)
	p.line(".SH COMMANDS")
	for _, n := range root.Children {
		if n.Hidden {
			continue
		}
		p.line(".TP\n.B %s", roff(n.Name))
		p.text(n.Help)
		if speaks(n) {
			p.line("See\n.BR taprouter\\-%s (1).", roff(n.Name))
		}
	}
	for _, n := range root.Children {
		if !n.Hidden && !speaks(n) {
			p.commandSection(root, n)
		}
	}
	p.line(".SH OPTIONS")
	p.flags(root.Flags)
	if examples != "" {
		p.line(".SH EXAMPLES\n.EX")
		for line := range strings.SplitSeq(strings.TrimRight(examples, "\n"), "\n") {
			p.line("%s", roff(strings.TrimSpace(line)))
		}
		p.line(".EE")
	}
	p.footer(root, "")
}

func (p *page) command(root, n *kong.Node) {
	p.line(".SH NAME\ntaprouter\\-%s \\- %s", roff(n.Name), roff(strings.TrimSuffix(firstLower(n.Help), ".")))
	p.line(".SH SYNOPSIS")
	leaves := leavesOf(n)
	for i, leaf := range leaves {
		if i > 0 {
			p.line(".br")
		}
		p.synopsis(leaf)
	}
	p.line(".SH DESCRIPTION")
	p.text(n.Help)
	if n.Detail != "" {
		p.line(".PP")
		p.text(n.Detail)
	}
	p.line("It speaks to a router that runs, by its API.")
	for _, leaf := range leaves {
		if leaf != n {
			p.commandSection(root, leaf)
		} else {
			p.line(".SH OPTIONS")
			p.options(root, leaf)
		}
	}
	shared := sharedFlags(root, n)
	if len(shared) > 0 {
		p.line(".SH OPTIONS OF ALL THESE COMMANDS")
		p.flags(shared)
	}
	p.line(".SH ENVIRONMENT\n.TP\n.B TAPROUTER_ENDPOINT\nWhere the router listens: unix:/path, http://host:port or " +
		"https://host:port.\n.TP\n.B TAPROUTER_TOKEN\nThe token that the router asks for.")
	p.line(".SH EXIT STATUS\n0: done. 1: refused, or it failed. 2: the command line is wrong.")
	p.footer(root, n.Name)
}

// sharedFlags are the flags that commands have from the one that they belong to.
func sharedFlags(root, n *kong.Node) []*kong.Flag {
	if len(n.Children) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(n.Flags), func(f *kong.Flag) bool { return f.Hidden })
}

// leavesOf are the commands that do something.
func leavesOf(n *kong.Node) (all []*kong.Node) {
	if len(n.Children) == 0 {
		return []*kong.Node{n}
	}
	for _, c := range n.Children {
		if !c.Hidden {
			all = append(all, leavesOf(c)...)
		}
	}
	return all
}

func (p *page) synopsis(n *kong.Node) {
	p.line(".B taprouter %s", roff(wordsOf(n)))
	for _, a := range n.Positional {
		name := roff(a.Summary())
		p.line(".I %s", name)
	}
	p.line(".RI [ options ]")
}

// wordsOf is a command with the words of those that it belongs to.
func wordsOf(n *kong.Node) string {
	var words []string
	for ; n.Parent != nil; n = n.Parent {
		words = append(words, n.Name)
	}
	slices.Reverse(words)
	return strings.Join(words, " ")
}

func (p *page) commandSection(root, n *kong.Node) {
	for _, leaf := range leavesOf(n) {
		p.line(".SH %s", roff(strings.ToUpper(wordsOf(leaf))))
		p.synopsis(leaf)
		p.line(".PP")
		p.text(leaf.Help)
		if leaf.Detail != "" {
			p.line(".PP")
			p.text(leaf.Detail)
		}
		p.options(root, leaf)
	}
}

func (p *page) options(root, n *kong.Node) {
	for _, a := range n.Positional {
		p.line(".TP\n.I %s", roff(a.Summary()))
		p.text(a.Help)
	}
	p.flags(n.Flags)
}

func (p *page) flags(flags []*kong.Flag) {
	for _, f := range flags {
		if f.Hidden {
			continue
		}
		p.line(".TP")
		name := roff("--" + f.Name)
		if f.Short != 0 {
			name = roff("-"+string(f.Short)) + ", " + name
		}
		if f.IsBool() {
			p.line(".B %s", name)
		} else {
			p.line(`\fB%s\fR=\fI%s\fR`, name, roff(f.FormatPlaceHolder()))
		}
		p.text(f.Help)
		if f.HasDefault && f.Default != "" {
			p.line("Default: %s.", roff(f.Default))
		}
	}
}

// footer names the other pages.
func (p *page) footer(root *kong.Node, self string) {
	p.line(".SH SEE ALSO")
	var pages []string
	if self != "" {
		pages = append(pages, "taprouter")
	}
	for _, n := range root.Children {
		if !n.Hidden && speaks(n) && n.Name != self {
			pages = append(pages, "taprouter-"+n.Name)
		}
	}
	for i, name := range pages {
		comma := ","
		if i == len(pages)-1 {
			comma = ""
		}
		p.line(".BR %s (1)%s", roff(name), comma)
	}
}

func firstLower(s string) string {
	if s == "" || len(s) > 1 && s[1] >= 'A' && s[1] <= 'Z' {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
