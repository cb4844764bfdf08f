// Package verdict has the words for what becomes of a frame: verdicts, the stages that give them, and the reasons of
// drops. Package router exports them again.
package verdict

// A Stage is a step on the way of a frame. The stages stand in the order in which a frame
// passes them: the switch of its network (wire/network.go), then the stages of a router
// (ip/forward.go). Their names are the words of traces, counters and documents.
type Stage uint8

// The stages. ARCHITECTURE.md says what each of them does.
const (
	StageSwitch Stage = iota
	StageIngress
	StageARP
	StageParse
	StageFragment
	StageConntrack
	StageDNAT
	StageLocal
	StageRoute
	StageTTL
	StageMTU
	StageSNAT
	StageNeighbor
	StageCommit
	StageRewrite
	StageEgress
	NumStages
)

var stageNames = [NumStages]string{
	"switch", "ingress", "arp", "parse", "fragment", "conntrack", "dnat", "local", "route", "ttl", "mtu", "snat",
	"neighbor", "commit", "rewrite", "egress",
}

// String returns the stage's name.
func (s Stage) String() string {
	if s < NumStages {
		return stageNames[s]
	}
	return "unknown"
}

// Stages returns every stage, in order.
func Stages() []Stage {
	all := make([]Stage, NumStages)
	for i := range all {
		all[i] = Stage(i)
	}
	return all
}

// A stageSet is a set of stages, a bit each.
type stageSet uint16

func at(stages ...Stage) stageSet {
	var set stageSet
	for _, s := range stages {
		set |= 1 << s
	}
	return set
}

func (set stageSet) has(s Stage) bool { return set>>s&1 != 0 }

// A DropReason says why a frame was dropped. The names are the words of traces,
// counters and documents.
type DropReason uint8

// The drop reasons. dropReasons has the name of each, and the stages at which it occurs.
const (
	DropRunt            DropReason = iota // shorter than an Ethernet header
	DropSourceMAC                         // group or zero source address
	DropNotOurs                           // addressed to a MAC that is not on this network
	DropSamePort                          // its receiver is behind the device that it came from
	DropReserved                          // a group address that no bridge forwards: pause, STP, LLDP (802.1Q, 8.6.3)
	DropSpoofedMAC                        // from a MAC address that no port has there (`port_security`)
	DropSpoofedIP                         // from an IP address that its port may not use
	DropSpoofedARP                        // ARP that claims an address that its port may not use
	DropDHCPServer                        // a DHCP server's message from a port, which is for clients
	DropRouterAdvert                      // an IPv6 router's advertisement or redirect from a port
	DropPortDown                          // from a port that is out of use (`admin_state_up = false`)
	DropStorm                             // too many broadcasts and unknown destinations of one device (`storm_limit`)
	DropEtherType                         // neither IPv4 nor ARP
	DropVLANTag                           // with the VLAN tag of no network on its device; counted by tag
	DropDoubleTag                         // with another tag inside: an attempt to get into a VLAN
	DropUntagged                          // without a VLAN tag, where all networks on the device have one
	DropARP                               // a malformed ARP message, or one of the router's own come back
	DropARPSender                         // ARP from the router's or no host's address, or a reply from off the subnet
	DropLinkBroadcast                     // IPv4 unicast in a link-layer broadcast (RFC 1812, 5.3.4)
	DropShort                             // shorter than a header
	DropIPVersion                         // not version 4
	DropIPHeader                          // impossible header or total length
	DropIPChecksum                        // wrong IP header checksum
	DropTransport                         // impossible transport header
	DropICMPQuote                         // an ICMP error that quotes nothing usable
	DropICMPChecksum                      // wrong ICMP checksum
	DropOffload                           // offload metadata that contradicts the frame, or cannot be served
	DropSourceRoute                       // a source route option (RFC 7126, 4.3)
	DropIPOptions                         // a malformed IP option (RFC 1812, 4.3.3.5)
	DropMartianSource                     // a source address that cannot be there (RFC 1812, 5.3.7)
	DropReversePath                       // no route to the source, or one to another interface (RFC 3704)
	DropMartianDest                       // a destination that is never forwarded
	DropBroadcast                         // a broadcast or multicast, which the router does not forward (RFC 2644)
	DropFragmentWait                      // the first fragment, or one for the router itself, came too late
	DropFragmentFull                      // no room, or no longer, to wait for other fragments
	DropFragmentChanged                   // a first fragment that contradicts the one before
	DropFragmentLocal                     // fragments for the router itself that overlap
	DropICMPType                          // an ICMP redirect or source quench, or not for the router itself to answer
	DropICMPSequence                      // an ICMP error about a TCP segment that was not sent (RFC 5927, 4.1)
	DropICMPUnknown                       // an ICMP error about no known connection
	DropPolicy                            // from outside, and no floating IP, VIP or mapping lets it in
	DropNoMapping                         // from outside to the SNAT address, and no mapping is there
	DropFiltered                          // from outside, refused by the filtering behavior (RFC 4787, 5)
	DropNoMember                          // no member of the VIP's pool is up
	DropNotAllowed                        // the VIP does not admit this client
	DropMemberRefused                     // a member's RST to a SYN that another member gets instead
	DropConnectionLimit                   // the VIP has as many connections as it may
	DropRefused                           // for the router itself, which does not listen there
	DropEchoRate                          // an echo request beyond what the router answers in a second
	DropServiceRate                       // a request to a local service beyond what it answers in a second
	DropNoRoute                           // no route to the destination
	DropTTL                               // time to live exceeded
	DropTooBig                            // larger than the next MTU, and must not be fragmented
	DropNeighborFailed                    // the next hop does not answer
	DropNeighborFull                      // too many packets wait for the next hop
	DropDuplicate                         // a copy of a SYN that waits for the next hop already
	DropNeighborRate                      // packets from this interface ask for too many unknown next hops
	DropNotTranslatable                   // a protocol that SNAT cannot tell apart
	DropNotSYN                            // TCP of no known connection, which cannot be translated
	DropCut                               // TCP of a connection that a change of the rules has ended
	DropTCPWindow                         // a TCP segment outside its connection's window (RFC 5961)
	DropTableFull                         // the connection table is full
	DropHostShare                         // the sender has its share of the connection table, or of a server's ports
	DropNoPort                            // the external address has no port left
	DropLoop                              // too many frames between the routers of one network
	DropHandover                          // the worker of the packet's router does not keep up
	DropDetached                          // its network is down, or its interface has been taken away meanwhile
	NumDropReasons
)

// dropReasons are the names, and the stages at which a frame is dropped for a reason. The comments of the reasons
// and this table make the table of drop reasons in ARCHITECTURE.md (TestGoldenDropReasons).
var dropReasons = [NumDropReasons]struct {
	name   string
	stages stageSet
}{
	DropRunt:            {"runt", at(StageSwitch)},
	DropSourceMAC:       {"source-mac", at(StageSwitch)},
	DropNotOurs:         {"not-ours", at(StageSwitch)},
	DropSamePort:        {"same-port", at(StageSwitch)},
	DropReserved:        {"reserved-mac", at(StageSwitch)},
	DropSpoofedMAC:      {"spoofed-mac", at(StageSwitch)},
	DropSpoofedIP:       {"spoofed-ip", at(StageSwitch)},
	DropSpoofedARP:      {"spoofed-arp", at(StageSwitch)},
	DropDHCPServer:      {"dhcp-server", at(StageSwitch)},
	DropRouterAdvert:    {"router-advertisement", at(StageSwitch)},
	DropPortDown:        {"port-down", at(StageSwitch)},
	DropStorm:           {"storm", at(StageSwitch)},
	DropEtherType:       {"ethertype", at(StageSwitch, StageIngress)},
	DropVLANTag:         {"vlan-tag", at(StageSwitch)},
	DropDoubleTag:       {"double-tag", at(StageSwitch)},
	DropUntagged:        {"untagged", at(StageSwitch)},
	DropARP:             {"arp", at(StageSwitch, StageARP)},
	DropARPSender:       {"arp-sender", at(StageARP)},
	DropLinkBroadcast:   {"link-broadcast", at(StageIngress)},
	DropShort:           {"short", at(StageSwitch, StageParse)},
	DropIPVersion:       {"ip-version", at(StageParse)},
	DropIPHeader:        {"ip-header", at(StageParse)},
	DropIPChecksum:      {"ip-checksum", at(StageParse)},
	DropTransport:       {"transport-header", at(StageParse)},
	DropICMPQuote:       {"icmp-quote", at(StageParse)},
	DropICMPChecksum:    {"icmp-checksum", at(StageParse)},
	DropOffload:         {"offload", at(StageSwitch, StageParse)},
	DropSourceRoute:     {"source-route", at(StageParse)},
	DropIPOptions:       {"ip-options", at(StageParse)},
	DropMartianSource:   {"martian-source", at(StageParse, StageConntrack, StageRoute)},
	DropReversePath:     {"reverse-path", at(StageParse, StageConntrack)},
	DropMartianDest:     {"martian-destination", at(StageParse, StageConntrack, StageRoute)},
	DropBroadcast:       {"broadcast", at(StageSwitch, StageParse, StageConntrack, StageRoute)},
	DropFragmentWait:    {"fragment-wait", at(StageFragment, StageLocal)},
	DropFragmentFull:    {"fragment-full", at(StageFragment, StageLocal)},
	DropFragmentChanged: {"fragment-changed", at(StageFragment)},
	DropFragmentLocal:   {"fragment-local", at(StageLocal)},
	DropICMPType:        {"icmp-type", at(StageConntrack, StageLocal)},
	DropICMPSequence:    {"icmp-sequence", at(StageConntrack)},
	DropICMPUnknown:     {"icmp-unknown", at(StageConntrack, StageLocal, StageSNAT)},
	DropPolicy:          {"policy", at(StageLocal, StageRoute)},
	DropNoMapping:       {"no-mapping", at(StageDNAT)},
	DropFiltered:        {"filtered", at(StageDNAT)},
	DropNoMember:        {"no-member", at(StageDNAT)},
	DropNotAllowed:      {"not-allowed", at(StageDNAT)},
	DropMemberRefused:   {"member-refused", at(StageConntrack)},
	DropConnectionLimit: {"connection-limit", at(StageDNAT, StageCommit)},
	DropRefused:         {"refused", at(StageLocal)},
	DropEchoRate:        {"echo-rate", at(StageLocal)},
	DropServiceRate:     {"service-rate", at(StageSwitch, StageLocal)},
	DropNoRoute:         {"no-route", at(StageRoute)},
	DropTTL:             {"ttl", at(StageTTL)},
	DropTooBig:          {"too-big", at(StageMTU)},
	DropNeighborFailed:  {"neighbor-failed", at(StageNeighbor)},
	DropNeighborFull:    {"neighbor-full", at(StageNeighbor)},
	DropDuplicate:       {"duplicate", at(StageNeighbor)},
	DropNeighborRate:    {"neighbor-rate", at(StageNeighbor)},
	DropNotTranslatable: {"not-translatable", at(StageSNAT)},
	DropNotSYN:          {"not-syn", at(StageCommit)},
	DropCut:             {"cut", at(StageConntrack)},
	DropTCPWindow:       {"tcp-window", at(StageFragment, StageConntrack)},
	DropTableFull:       {"table-full", at(StageCommit)},
	DropHostShare:       {"host-share", at(StageSNAT, StageCommit)},
	DropNoPort:          {"no-port", at(StageSNAT, StageCommit)},
	DropLoop:            {"loop", at(StageSwitch)},
	DropHandover:        {"handover", at(StageSwitch)},
	DropDetached:        {"detached", at(StageSwitch, StageIngress, StageFragment, StageLocal, StageNeighbor)},
}

// String returns the reason's name.
func (r DropReason) String() string {
	if r < NumDropReasons {
		return dropReasons[r].name
	}
	return "unknown"
}

// Stages returns the stages at which a frame may be dropped for the reason, in order.
func (r DropReason) Stages() []Stage {
	var all []Stage
	for _, s := range Stages() {
		if r < NumDropReasons && dropReasons[r].stages.has(s) {
			all = append(all, s)
		}
	}
	return all
}

// DropReasons returns every reason, in order.
func DropReasons() []DropReason {
	all := make([]DropReason, NumDropReasons)
	for i := range all {
		all[i] = DropReason(i)
	}
	return all
}

// A Verdict is what a stage says about a frame: the frame goes on, it is done with in one of several
// ways, or it is dropped for a reason. A frame that has been received ends with exactly one verdict.
//
// The low byte is one of the values below, or dropped + the reason; the high byte is the stage of a drop.
type Verdict uint16

// The verdicts that are no drop.
const (
	Next       Verdict = iota // the frame goes on to the next stage
	Forwarded                 // on its way
	Consumed                  // answered, learned from, or for no other receiver
	Parked                    // waits for a neighbor or for other fragments, and will be judged again
	HandedOver                // another worker will judge it
	dropped                   // + reason
)

// Drop is the verdict that a frame is dropped for a reason. There is no verdict for a drop without a reason.
// The stage is the switch until At names another one: the caller of a router's stages does so.
func Drop(r DropReason) Verdict { return dropped + Verdict(r) }

// At adds the stage to a drop, unless it has one.
func (v Verdict) At(s Stage) Verdict {
	if !v.IsDrop() || v > 0xff {
		return v
	}
	return v | Verdict(s)<<8
}

// IsDrop reports whether the frame was dropped.
func (v Verdict) IsDrop() bool { return v >= dropped }

// Dropped returns why and where the frame was dropped. ok is false for a frame that was not.
func (v Verdict) Dropped() (reason DropReason, stage Stage, ok bool) {
	if !v.IsDrop() {
		return 0, 0, false
	}
	return DropReason(v&0xff - dropped), Stage(v >> 8), true
}

// String returns the verdict in words, such as "forwarded" or "dropped at route: no-route".
func (v Verdict) String() string {
	if reason, stage, ok := v.Dropped(); ok {
		return "dropped at " + stage.String() + ": " + reason.String()
	}
	return [dropped]string{"not judged", "forwarded", "consumed", "parked", "handed over"}[v]
}

// An UnsentReason says why a router has not sent a frame of its own: an ICMP error, a RST, or a piece of a
// packet. The names are the words of the counters.
type UnsentReason uint8

// The reasons. An answer that a rule forbids, such as an ICMP error about an ICMP error (RFC 1812, 4.3.2.7) or a
// RST in answer to a RST, is not counted. Frames that a device does not take are in DeviceStats.Lost.
const (
	UnsentRate     UnsentReason = iota // an ICMP error or a RST beyond what the router sends in a second
	UnsentRoute                        // the RST for one side of a connection that ends, to which there is no route
	UnsentNeighbor                     // such a RST, where the next hop is not known: a RST is not worth an ARP request
	UnsentSequence                     // such a RST, where it is not known which sequence number that side expects
	UnsentFragment                     // a RST in answer to a TCP segment in fragments, whose length is not known
	UnsentPieces                       // a part of a super-frame that cannot be cut any further
	NumUnsentReasons
)

var unsentNames = [NumUnsentReasons]string{"rate", "no-route", "no-neighbor", "no-sequence", "fragment", "pieces"}

// String returns the reason's name.
func (r UnsentReason) String() string {
	if r < NumUnsentReasons {
		return unsentNames[r]
	}
	return "unknown"
}
