package lab

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An option is one that a tool understands.
type option struct {
	value bool // it needs one
	take  func(c *command, value string) error
}

// flag is an option without a value.
func flag(take func(*command)) option {
	return option{take: func(c *command, _ string) error { take(c); return nil }}
}

// ignored is an option that changes nothing here, as people type it from habit.
var ignored = flag(func(*command) {})

// number is an option whose value is a whole number.
func number(to func(*command) *int, low, high int) option {
	return option{true, func(c *command, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q is not a number from %d to %d", value, low, high)
		}
		*to(c) = n
		return nil
	}}
}

// seconds is an option whose value is a time.
func seconds(to func(*command) *time.Duration, least float64) option {
	return option{true, func(c *command, value string) error {
		s, err := strconv.ParseFloat(value, 64)
		if err != nil || !(s > 0 && s <= 3600) {
			return fmt.Errorf("%q is not a number of seconds", value)
		}
		if s < least {
			return fmt.Errorf("%q is less than %v seconds", value, least)
		}
		*to(c) = time.Duration(s * float64(time.Second))
		return nil
	}}
}

func timeout(c *command) *time.Duration { return &c.timeout }

// only is an option for which there is one value.
func only(why string, to func(*command), values ...string) option {
	return option{true, func(c *command, value string) error {
		if !slices.Contains(values, value) {
			return fmt.Errorf("%q: %s", value, why)
		}
		to(c)
		return nil
	}}
}

// leastInterval is the shortest time between two echoes, in seconds.
const leastInterval = 0.01

// options are what each tool understands, in the letters of the real one.
var options = map[string]map[string]option{
	"ping": {
		"-n": ignored, "-v": ignored, "-4": ignored,
		"-q": flag(func(c *command) { c.quiet = true }),
		"-c": number(func(c *command) *int { return &c.count }, 1, 1000),
		"-s": number(func(c *command) *int { return &c.size }, 0, 65507),
		"-t": number(func(c *command) *int { return &c.ttl }, 1, 255),
		"-i": seconds(func(c *command) *time.Duration { return &c.interval }, leastInterval),
		"-w": seconds(func(c *command) *time.Duration { return &c.deadline }, 0),
		"-W": seconds(timeout, 0),
		"-I": {true, setFrom},
		"-M": {true, func(c *command, value string) error {
			if c.df = value == "do"; !c.df && value != "dont" && value != "want" {
				return fmt.Errorf("%q is none of do, dont, want", value)
			}
			return nil
		}},
	},
	"curl": {
		"-s": ignored, "--silent": ignored, "-S": ignored, "--show-error": ignored, "-N": ignored,
		"--no-buffer": ignored,
		"-4":          ignored, "--ipv4": ignored, "-L": ignored, "--location": ignored, "-k": ignored,
		"--insecure": ignored,
		"-i":         flag(showHeaders), "--include": flag(showHeaders),
		"-I": flag(onlyHead), "--head": flag(onlyHead),
		"-f": flag(failOnError), "--fail": flag(failOnError),
		"-m": seconds(timeout, 0), "--max-time": seconds(timeout, 0), "--connect-timeout": seconds(timeout, 0),
		"-o": nowhere, "--output": nowhere,
		"-w": {true, setWriteOut}, "--write-out": {true, setWriteOut},
	},
	"traceroute": {
		"-4": ignored,
		"-n": flag(func(c *command) { c.numeric = true }),
		"-I": flag(func(c *command) { c.mode = "-I" }),
		"-U": flag(func(c *command) { c.mode = "-U" }),
		"-T": flag(func(c *command) { c.mode = "-T" }),
		"-m": number(func(c *command) *int { return &c.maxHops }, 1, 255),
		"-w": seconds(timeout, 0),
		"-q": only("each hop gets one line here, which is -q 1", func(*command) {}, "1"),
	},
	"connect": {"-u": flag(func(c *command) { c.udp = true }), "-w": seconds(timeout, 0)},
	"send":    {"-w": seconds(timeout, 0)},
	"dhcp":    {"-w": seconds(timeout, 0)},
	"dig": {
		"-4": ignored,
		"-x": {true, func(c *command, value string) error { c.text = value; return nil }},
	},
	"arping": {
		"-q": ignored, "-b": ignored,
		"-c": number(func(c *command) *int { return &c.count }, 1, 1000),
		"-w": seconds(func(c *command) *time.Duration { return &c.deadline }, 0),
		"-s": {true, setFrom},
		"-D": flag(func(c *command) { c.probe = true }),
		"-I": only("an instance has the interface "+eth0+" alone", func(*command) {}, eth0),
	},
	"nc": {
		"-4": ignored, "-n": ignored, "-v": ignored, "-N": ignored, "-p": ignored,
		"-l": flag(func(c *command) { c.nc.listens = true }),
		"-k": flag(func(c *command) { c.nc.goesOn = true }),
		"-z": flag(func(c *command) { c.nc.looks = true }),
		"-u": flag(func(c *command) { c.udp = true }),
		"-w": seconds(timeout, 0),
	},
}

// setFrom takes the address that something comes from, or the interface, which is the only one.
func setFrom(c *command, value string) (err error) {
	if value != eth0 {
		c.from, err = anAddress(value)
	}
	return err
}

func showHeaders(c *command) { c.headers = true }
func onlyHead(c *command)    { c.headers, c.head = true, true }
func failOnError(c *command) { c.strict = true }

var nowhere = only("a lab has no files: write /dev/null", func(c *command) { c.discard = true }, "/dev/null")

// options takes the options, alone or several letters in a word, with their values in
// the same word or the next, and returns the rest.
func (c *command) options(words []string) (rest []string, err error) {
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		switch {
		case len(w) < 2 || w[0] != '-':
			rest = append(rest, w)
			if c.name == "send" && len(rest) == 2 {
				return append(rest, words...), nil // the text may hold anything
			}
		case strings.HasPrefix(w, "--"):
			name, value, joined := strings.Cut(w, "=")
			if words, err = c.option(name, value, joined, words); err != nil {
				return nil, err
			}
		default:
			if words, err = c.letters(w, words); err != nil {
				return nil, err
			}
		}
	}
	return rest, nil
}

// letters takes the options of one word, such as -sI or -c1, and returns the words
// that are left after it.
func (c *command) letters(w string, words []string) ([]string, error) {
	for i := 1; i < len(w); i++ {
		name := "-" + w[i:i+1]
		if options[c.tool()][name].value {
			return c.option(name, w[i+1:], i+1 < len(w), words)
		}
		if _, err := c.option(name, "", false, words); err != nil {
			return nil, err
		}
	}
	return words, nil
}

// option takes one option. Its value is joined to it, or the first of the words.
func (c *command) option(name, value string, joined bool, words []string) ([]string, error) {
	o, known := options[c.tool()][name]
	switch {
	case !known:
		all := slices.Sorted(maps.Keys(options[c.tool()]))
		return nil, fmt.Errorf("unknown option %s: there are %s", name, strings.Join(all, ", "))
	case !o.value && joined:
		return nil, fmt.Errorf("option %s takes no value", name)
	case o.value && !joined && len(words) == 0:
		return nil, fmt.Errorf("option %s needs a value", name)
	case o.value && !joined:
		value, words = words[0], words[1:]
	}
	if err := o.take(c, value); err != nil {
		return nil, fmt.Errorf("option %s: %w", name, err)
	}
	return words, nil
}

// writeOutVariable is one of curl's variables in the text of -w.
var writeOutVariable = regexp.MustCompile(`%\{[^}]*\}`)

// setWriteOut takes the text that curl prints in the end.
func setWriteOut(c *command, text string) error {
	var known page
	for _, v := range writeOutVariable.FindAllString(text, -1) {
		if _, ok := known.variable(v); !ok {
			return fmt.Errorf("no variable %s: there are %%{http_code}, %%{response_code}, %%{size_download}, "+
				"%%{time_total}", v)
		}
	}
	c.writeOut = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "", "%%", "%").Replace(text)
	return nil
}

// A page is what curl can say about what it got.
type page struct {
	status int
	bytes  int64
	took   time.Duration
}

// variable is the value of one of curl's variables.
func (p *page) variable(name string) (string, bool) {
	switch name {
	case "%{http_code}", "%{response_code}":
		return fmt.Sprintf("%03d", p.status), true
	case "%{size_download}":
		return strconv.FormatInt(p.bytes, 10), true
	case "%{time_total}":
		return fmt.Sprintf("%.6f", p.took.Seconds()), true
	}
	return "", false
}

// write fills the variables of a text in.
func (p *page) write(text string) string {
	return writeOutVariable.ReplaceAllStringFunc(text, func(v string) string {
		s, _ := p.variable(v)
		return s
	})
}
