// Package client is the command line that speaks to a running router, in the words of OpenStack's own client.
//
// The commands are structs that kong parses. A field's tag api says which attribute of the request it sets, so that
// most commands are their struct and one line. A kind is a resource of the API: where it is, what it is called, and
// which columns it has. What is printed, in which form, is the same for all.
//
// The answers are data of another process: they are bounded in size, depth and time, and no control character of
// theirs reaches a terminal.
package client
