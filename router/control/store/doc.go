// Package store keeps what taprouter has to know after a restart: keys and values behind an interface of etcd's shape.
// Memory keeps nothing, Bolt keeps a file. Package storetest holds every implementation to the same rules.
//
// Objects is what a control.Control needs: it writes a State of package config to a Store, and reads it again. The
// package imports no part of the router, so a program that only reads a store stays small.
package store
