// Package wire is a network: a switch between endpoints. A port is the membership of a link, with other hosts behind
// it. A station is an endpoint of the engine's own: the interface of a router, or a local service, which is a host in
// this process. The switch finds stations by their MAC addresses, learns which hosts are behind which port, gives an
// ARP broadcast to the routers that it concerns, and shows frames to watchers.
//
// A network belongs to the worker that reads its links. Comments at the fields say which of them the workers of other
// stations may use. What is exported is for the packages of router and their tests.
package wire
