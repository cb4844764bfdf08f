package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router/host"
)

// parseService understands what start and stop are about: KIND:PORT.
func (c *command) parseService(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes a service, such as %q", c.name, c.name+" http:80")
	}
	kind, port, _ := strings.Cut(args[0], ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%s: %q is not a service: write http:80", c.name, args[0])
	}
	c.service = file.Service{Kind: kind, Port: uint16(n)}
	return nil
}

// checkService says whether the step's instance has the service at all.
func (c *command) checkService(topo *file.Topology, s *file.Step) error {
	var has []string
	for i := range topo.Instances {
		if in := &topo.Instances[i]; in.Name == s.On {
			if slices.Contains(in.Serve, c.service) {
				return nil
			}
			for _, other := range in.Serve {
				has = append(has, serviceName(other))
			}
		}
	}
	return fmt.Errorf("%s: instance %q does not serve %s: it has %s", c.name, s.On, serviceName(c.service), listed(has))
}

func serviceName(s file.Service) string { return fmt.Sprintf("%s:%d", s.Kind, s.Port) }

// listed is what there is, for a message about something else.
func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// serve starts a service of an instance.
func serve(h *host.Host, s file.Service) error {
	if s.Kind == "echo" {
		return h.ServeEcho(s.Port)
	}
	return h.ServeName(s.Port)
}

// startOrStop runs start and stop. As systemctl, they say nothing when it is done.
func (c *command) startOrStop(h *host.Host, out io.Writer) bool {
	var err error
	if c.name == "start" {
		err = serve(h, c.service)
	} else {
		err = h.StopServing(c.service.Port)
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, syscall.EADDRINUSE):
		fmt.Fprintf(out, "start: %s is running already\n", serviceName(c.service))
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(out, "stop: %s is not running\n", serviceName(c.service))
	default:
		fmt.Fprintf(out, "%s: %v\n", c.name, err)
	}
	return false
}

// browse is curl as a browser does it: the connection stays open for the instance's
// next browse. A new one is made if it has ended.
func (l *lab) browse(ctx context.Context, c *command, on string, out io.Writer) result {
	client := l.browsers[on]
	if client == nil {
		client = &http.Client{Transport: &http.Transport{DialContext: l.hosts[on].DialContext}}
		l.browsers[on] = client
	}
	return c.curl(ctx, client, out)
}
