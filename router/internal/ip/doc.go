// Package ip is one virtual router. The way of a packet is in forward.go, stage by stage. What its packets obey is in
// Rules, which never change and are swapped for the next ones; Params say what those follow from, and know nothing of
// config. What packets change is in tables: connections and mappings, neighbors, fragments, backends of VIPs. Change is
// a change of the rules with what it means for the tables: it is planned off the worker and adopted by it.
//
// A Router belongs to one worker. What is exported is for package router and its tests.
package ip
