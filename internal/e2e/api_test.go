//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// An apiClient speaks to a router by its unix socket, over one connection that is kept. One goroutine uses it at a
// time.
type apiClient struct{ http *http.Client }

func newAPIClient(socket string) *apiClient {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 1,
	}
	return &apiClient{&http.Client{Transport: t, Timeout: 30 * time.Second}}
}

func (c *apiClient) close() { c.http.CloseIdleConnections() }

// do sends a request. An error says that no answer came: then the request may have been done or not.
func (c *apiClient) do(method, path, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequest(method, "http://taprouter"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// An apiObject is one that the API shows.
type apiObject map[string]any

func (o apiObject) text(key string) string {
	s, _ := o[key].(string)
	return s
}

// done is do for a request that has to be answered well, with an object: of a wrapped one what is in the wrapper.
func (c *apiClient) done(method, path, body string) (apiObject, error) {
	status, text, err := c.do(method, path, body)
	switch {
	case err != nil:
		return nil, err
	case status/100 != 2:
		return nil, fmt.Errorf("%s %s %s: %d %s", method, path, body, status, text)
	case len(text) == 0:
		return nil, nil
	}
	var o apiObject
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", method, path, err, text)
	}
	if len(o) == 1 {
		for _, v := range o {
			if inner, ok := v.(map[string]any); ok {
				return inner, nil
			}
		}
	}
	return o, nil
}

// list reads a collection, by id.
func (c *apiClient) list(path, name string) (map[string]apiObject, error) {
	status, text, err := c.do("GET", path, "")
	if err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); status != 200 || err != nil {
		return nil, fmt.Errorf("GET %s: %d %s %w", path, status, text, err)
	}
	var objects []apiObject
	if err := json.Unmarshal(all[name], &objects); err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	byID := map[string]apiObject{}
	for _, o := range objects {
		byID[o.text("id")] = o
	}
	return byID, nil
}

// socketPath is a path for a unix socket of the test: short enough for one.
func (w *world) socketPath() string { return filepath.Join(filepath.Dir(w.file("x", "")), "s") }
