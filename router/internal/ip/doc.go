// Package ip is one virtual router. The way of a packet is in forward.go, stage by stage. Packets obey Rules, which
// never change and are swapped for the next ones. Rules are made from Params, which know nothing of config. Packets
// change tables: connections and mappings, neighbors, fragments, backends of VIPs. A Change is a change of the rules,
// with its consequences for the tables: it is planned off the worker, and the worker adopts it.
//
// A Router belongs to one worker. Unless a comment says otherwise, functions and methods are called by that worker, and
// frames live until its next flush. Addresses and ports are numbers in the processor's byte order (packet.Addr). What
// is exported is for package router and its tests.
package ip
