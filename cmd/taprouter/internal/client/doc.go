// Package client is the command line that speaks to a running router.
package client
