package client

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

type eventsCommand struct {
	Connection
	Since string `placeholder:"ID" help:"Begin after this event or revision; without it with what happens next."`
	Count int    `placeholder:"N" help:"End after so many events."`
	outputOption
}

// maxLine bounds one line of a stream, in bytes.
const maxLine = 4 << 20

// silence is how long a stream of events may say nothing: several of the router's heartbeats.
const silence = time.Minute

// Run prints events until it is stopped.
func (c *eventsCommand) Run(s *Session) error {
	query := url.Values{}
	if c.Since != "" {
		query.Set("last_event_id", c.Since)
	}
	s.router.timeout = max(s.router.timeout, silence)
	path := "/events"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	resp, err := s.request(http.MethodGet, path, "", nil, map[string]string{"Accept": "text/event-stream"})
	if err != nil {
		return s.failed(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	var id string
	var data []string
	for n := 0; lines.Scan(); {
		line := lines.Text()
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			id = value
		case "data":
			if len(data) < 1024 {
				data = append(data, value)
			}
		case "":
			if line != "" || data == nil {
				continue // a comment, which keeps the connection alive
			}
			if err := c.print(s, id, strings.Join(data, "\n")); err != nil {
				return s.failed(err)
			}
			data = nil
			if n++; n == c.Count {
				return nil
			}
		}
	}
	if err := lines.Err(); err != nil && s.ctx.Err() == nil {
		return s.failed(err)
	}
	if s.ctx.Err() != nil {
		return nil // stopped by the user
	}
	return s.failed(fmt.Errorf("the router has ended the stream; --since %s goes on after the last event", id))
}

func (c *eventsCommand) print(s *Session, id, data string) error {
	v, err := decode([]byte(data))
	o, ok := v.(*object)
	if err != nil || !ok {
		return fmt.Errorf("an event is not what a router says: %.60q", data)
	}
	if c.Output == "json" {
		return s.write(jsonText(o, 0) + "\n")
	}
	return s.write(eventText(id, o))
}

// eventText is an event as people read it: when, which, what.
func eventText(id string, o *object) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", o.text("at"), id, o.text("kind"))
	for _, k := range o.keys {
		switch k {
		case "at", "kind", "revision", "changes":
		default:
			fmt.Fprintf(&b, " %s=%s", k, pythonText(o.values[k]))
		}
	}
	b.WriteByte('\n')
	for _, v := range o.list("changes") {
		change, _ := v.(*object)
		var text strings.Builder
		changeText(&text, change)
		for line := range strings.Lines(text.String()) {
			b.WriteString("    " + line)
		}
	}
	return b.String()
}
