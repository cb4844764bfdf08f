// Package native is the router's own API below /taprouter/v1: what a daemon does, and what it is to do. Neutron's API
// is about objects; this one is about the process and its connections, tables, devices and topology file.
//
// One table of routes (routes.go) is what the API serves and what its OpenAPI document says. Answers are JSON with
// keys in snake_case, durations in seconds, and addresses as text. Errors are problems (RFC 9457) that list every fault
// with its file and line. Long lists are streamed, so a client that reads slowly takes no memory.
//
// Who may come in is decided before: package serve has the sockets, tokens and limits.
package native
