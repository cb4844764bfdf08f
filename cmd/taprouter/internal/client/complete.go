package client

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/alecthomas/kong"
)

// completionTime bounds how long a shell waits for names.
const completionTime = time.Second

// files is the answer that has the shell complete names of files.
const files = ":files"

// CompleteCommand answers the scripts of CompletionCommand: what a word can become.
type CompleteCommand struct {
	Words []string `arg:"" optional:"" passthrough:"" help:"The words after the program's name; the last one is completed."`
}

// Run prints one candidate a line. Nothing is said of errors: a shell would show them in the middle of a command.
func (c *CompleteCommand) Run(ctx context.Context, k *kong.Context, out *Output) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, w := range complete(ctx, k.Model.Node, words) {
		fmt.Fprintln(out.Out, w)
	}
	return nil
}

// Output is where commands print that speak to no router.
type Output struct{ Out io.Writer }

// A place is where the words before the last one lead in the grammar.
type place struct {
	node  *kong.Node
	value *kong.Value // of a flag that waits for its value; nil: none
	args  int         // positional arguments that are given
	given []string    // them
}

// locate follows words through the grammar.
func locate(root *kong.Node, words []string) place {
	p := place{node: root}
	for _, w := range words {
		switch {
		case p.value != nil:
			p.value = nil
		case strings.HasPrefix(w, "-") && w != "-":
			name, _, has := strings.Cut(strings.TrimLeft(w, "-"), "=")
			if f := flagOf(p.node, name); f != nil && !has && !f.IsBool() {
				p.value = f.Value
			}
		default:
			child := slices.IndexFunc(p.node.Children, func(n *kong.Node) bool {
				return n.Name == w || slices.Contains(n.Aliases, w)
			})
			if child >= 0 && p.args == 0 {
				p.node = p.node.Children[child]
			} else {
				p.args++
				p.given = append(p.given, w)
			}
		}
	}
	return p
}

// flagOf is a flag of a command or of one that it belongs to, by its name or letter.
func flagOf(n *kong.Node, name string) *kong.Flag {
	for ; n != nil; n = n.Parent {
		for _, f := range n.Flags {
			if f.Name == name || f.Short != 0 && string(f.Short) == name || slices.Contains(f.Aliases, name) {
				return f
			}
		}
	}
	return nil
}

// complete lists what the last word can become.
func complete(ctx context.Context, root *kong.Node, words []string) []string {
	last := ""
	if len(words) > 0 {
		last, words = words[len(words)-1], words[:len(words)-1]
	}
	p := locate(root, words)
	var all []string
	switch {
	case p.value != nil:
		all = valuesOf(ctx, p, p.value)
	case strings.HasPrefix(last, "-"):
		for n := p.node; n != nil; n = n.Parent {
			for _, f := range n.Flags {
				if !f.Hidden {
					all = append(all, "--"+f.Name)
				}
			}
		}
	case len(p.node.Children) > 0 && p.args > 0: // a word that is no command
	case len(p.node.Children) > 0:
		for _, c := range p.node.Children {
			if !c.Hidden {
				all = append(all, c.Name)
			}
		}
	case len(p.node.Positional) > 0:
		i := min(p.args, len(p.node.Positional)-1)
		if v := p.node.Positional[i]; i == p.args || v.IsSlice() {
			all = valuesOf(ctx, p, v)
		}
	}
	if slices.Equal(all, []string{files}) {
		return all
	}
	all = slices.DeleteFunc(all, func(w string) bool { return !strings.HasPrefix(w, last) })
	slices.Sort(all)
	return slices.Compact(all)
}

// valuesOf lists what an option or an argument can be.
func valuesOf(ctx context.Context, p place, v *kong.Value) []string {
	if v.Enum != "" {
		return slices.DeleteFunc(v.EnumSlice(), func(s string) bool { return s == "" })
	}
	if !speaks(p.node) || v.Name == "file" {
		if v.Tag.Type == "path" || strings.HasPrefix(v.Name, "file") {
			return []string{files}
		}
		return nil
	}
	if v.Tag.Type == "path" {
		return []string{files}
	}
	k := kindOf(v)
	if k == nil {
		return nil
	}
	return namesOf(ctx, p, k)
}

// kindOf is the resource that a value names, or nil.
func kindOf(v *kong.Value) *kind {
	if _, name, ok := strings.Cut(v.Tag.Get("api"), ","); ok {
		return kinds[name]
	}
	switch v.Name {
	case "floating-ip":
		return floatingIPs
	case "health-monitor":
		return monitors
	case "address-group":
		return addressGroups
	case "member":
		return members
	case "external-gateway":
		return networks
	case "extension":
		return &kind{path: extensions.path, plural: extensions.plural, named: "alias"}
	case "security-group":
		return securityGroups
	}
	return kinds[v.Name]
}

// namesOf asks the router for the names of a resource.
func namesOf(ctx context.Context, p place, k *kind) []string {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	c := Connection{Endpoint: defaultEndpoint(p.node), RequestTimeout: completionTime}
	t, err := c.open()
	if err != nil {
		return nil
	}
	s := &Session{ctx: ctx, router: t, out: io.Discard, err: io.Discard}
	if k == members {
		if len(p.given) == 0 {
			return nil
		}
		if k, err = s.membersOf(p.given[0]); err != nil {
			return nil
		}
	}
	all, err := s.list(k.path, k.plural, nil)
	if err != nil {
		return nil
	}
	var names []string
	for _, o := range all {
		name := o.text("name")
		if k.named != "" {
			name = o.text(k.named)
		}
		if name == "" {
			name = o.text("id")
		}
		if !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			names = append(names, name)
		}
	}
	return names
}

// defaultEndpoint is what --endpoint is when it is not given: what the environment says, or the socket.
func defaultEndpoint(n *kong.Node) string {
	f := flagOf(n, "endpoint")
	if f == nil {
		return "unix:" + DefaultSocket
	}
	if err := f.Reset(); err != nil {
		return "unix:" + DefaultSocket
	}
	return f.Target.String()
}

// CompletionCommand prints a shell's script for completion.
type CompletionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help says where the scripts go.
func (*CompletionCommand) Help() string {
	return "bash: source <(taprouter completion bash). zsh: write it to a file _taprouter in a directory of $fpath. " +
		"fish: write it to ~/.config/fish/completions/taprouter.fish."
}

// Run prints the script.
func (c *CompletionCommand) Run(out *Output) error {
	_, err := io.WriteString(out.Out, completionScripts[c.Shell])
	return err
}

var completionScripts = map[string]string{
	"bash": `# taprouter's words for bash
_taprouter() {
    local answer
    mapfile -t answer < <(taprouter __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    COMPREPLY=()
    if [[ ${answer[0]} == :files ]]; then
        compopt -o default
        return
    fi
    local word
    for word in "${answer[@]}"; do
        COMPREPLY+=("$(printf '%q' "$word")")
    done
}
complete -F _taprouter taprouter
`,
	"zsh": `#compdef taprouter
# taprouter's words for zsh
_taprouter() {
    local -a answer
    answer=("${(@f)$(taprouter __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ ${answer[1]} == :files ]]; then
        _files
    elif [[ -n ${answer[1]} ]]; then
        compadd -- "${answer[@]}"
    fi
}
if [[ $funcstack[1] == _taprouter ]]; then
    _taprouter "$@"
else
    compdef _taprouter taprouter
fi
`,
	"fish": `# taprouter's words for fish
function __taprouter_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l answer (taprouter __complete -- $words[2..] 2>/dev/null)
    if test "$answer[1]" = :files
        __fish_complete_path (commandline -ct)
    else
        string join \n -- $answer
    end
end
complete -c taprouter -f -a '(__taprouter_complete)'
`,
}
