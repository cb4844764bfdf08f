// Package loop is a worker's thread: the links that it reads and writes, how it waits, in which order links have their
// turn, the functions that other goroutines send it to run, and the rings by which workers hand frames to each other.
// It knows frames, and uses package packet to cut and to complete them. It knows nothing of networks and routers: a
// link has an owner, a ring leads to receivers, and a table is told when something in it may be due.
//
// A Turn is everything that code on the way of a packet may do to its worker. A turn in the ordinary sense is one
// round of the worker's loop (Worker.RunTurn). Unless a comment says otherwise, fields and methods belong to the
// worker's goroutine; any goroutine may use Worker.Post and Worker.Call. What is exported is for the packages of router
// and their tests.
package loop
