// Package loop is a worker's thread: the links that it reads and writes, how it waits, in which order links have their
// turn, what others send it to run, and the rings by which workers hand frames to each other. It knows frames, and for
// cutting and completing them what is in packet. It knows nothing of networks and routers: a link has an owner, a ring
// leads to receivers, and what is to be done at times is in tables.
//
// A Turn is all that code on the way of a packet may do to its worker. Unless a comment says otherwise, fields and
// methods belong to the worker's goroutine; Worker.Post and Worker.Call may be used by any. What is exported is for the
// packages of router and their tests.
package loop
