package router

// A DropReason says why a frame was dropped. The names are the words of traces,
// counters and documents.
type DropReason uint8

// The drop reasons.
const (
	DropRunt            DropReason = iota // shorter than an Ethernet header
	DropSourceMAC                         // group or zero source address
	DropNotOurs                           // addressed to a MAC that is not on this network
	DropSamePort                          // bridged back to where it came from
	DropReserved                          // a group address that no bridge forwards: pause, STP, LLDP (IEEE 802.1Q, 8.6.3)
	DropEtherType                         // neither IPv4 nor ARP
	DropVLANTag                           // tagged frame on an untagged network
	DropDoubleTag                         // with another tag inside: an attempt to get into a VLAN
	DropARP                               // malformed or impossible ARP
	DropARPSender                         // ARP from the router's address or no host's, or a reply from outside the subnet
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
	DropReversePath                       // a source that has no route, or another one (RFC 3704)
	DropMartianDest                       // a destination that is never forwarded
	DropBroadcast                         // a broadcast or multicast, which the router does not forward (RFC 2644)
	DropFragmentWait                      // a fragment whose first one did not come in time
	DropFragmentFull                      // no room, or no longer, to wait for the first fragment
	DropFragmentChanged                   // a first fragment that contradicts the one before
	DropFragmentLocal                     // fragments for the router itself that overlap
	DropICMPType                          // an ICMP redirect or source quench, or what the router itself does not answer
	DropICMPSequence                      // an ICMP error about a TCP segment that nobody has sent (RFC 5927, 4.1)
	DropICMPUnknown                       // an ICMP error about a connection nobody has
	DropPolicy                            // from outside, and neither a floating IP, a VIP nor a mapping
	DropNoMapping                         // from outside to the SNAT address, where nothing is open
	DropFiltered                          // refused by the filtering behavior
	DropNoMember                          // no member of the VIP's pool is up
	DropNotAllowed                        // a client that the VIP is not for
	DropMemberRefused                     // a member's RST to a SYN, which another member is to have
	DropConnectionLimit                   // the VIP has as many connections as it may
	DropRefused                           // for the router itself, where nothing listens
	DropEchoRate                          // an echo request beyond what the router answers in a second
	DropNoRoute                           // no route to the destination
	DropTTL                               // time to live exceeded
	DropTooBig                            // larger than the next MTU, and must not be fragmented
	DropNeighborFailed                    // the next hop does not answer
	DropNeighborFull                      // too many packets wait for the next hop
	DropDuplicate                         // a copy of a SYN that waits for the next hop already
	DropNeighborRate                      // packets from there ask for too many next hops that nobody knows
	DropNotTranslatable                   // a protocol that SNAT cannot tell apart
	DropNotSYN                            // TCP out of nowhere, which cannot be translated
	DropCut                               // TCP of a connection that a change of the rules has ended
	DropTCPWindow                         // TCP that is not where its connection is (RFC 5961)
	DropTableFull                         // the connection table is full
	DropHostShare                         // the sender holds its share of the connection table, or of the ports towards a server
	DropNoPort                            // the external address has no port left
	DropLoop                              // too many frames between the routers of one network
	DropHandover                          // the worker of the packet's router does not keep up
	numDropReasons
)

var dropNames = [numDropReasons]string{
	"runt", "source-mac", "not-ours", "same-port", "reserved-mac", "ethertype", "vlan-tag", "double-tag", "arp", "arp-sender",
	"link-broadcast", "short", "ip-version", "ip-header", "ip-checksum", "transport-header",
	"icmp-quote", "icmp-checksum", "offload", "source-route", "ip-options",
	"martian-source", "reverse-path", "martian-destination",
	"broadcast", "fragment-wait", "fragment-full", "fragment-changed", "fragment-local", "icmp-type", "icmp-sequence", "icmp-unknown", "policy",
	"no-mapping", "filtered", "no-member", "not-allowed", "member-refused", "connection-limit", "refused", "echo-rate", "no-route", "ttl", "too-big",
	"neighbor-failed", "neighbor-full", "duplicate", "neighbor-rate", "not-translatable", "not-syn", "cut",
	"tcp-window", "table-full", "host-share",
	"no-port", "loop", "handover",
}

// String returns the reason's name.
func (r DropReason) String() string {
	if r < numDropReasons {
		return dropNames[r]
	}
	return "unknown"
}

// DropReasons returns every reason, in order.
func DropReasons() []DropReason {
	all := make([]DropReason, numDropReasons)
	for i := range all {
		all[i] = DropReason(i)
	}
	return all
}

// A verdict is what a stage says about a frame: go on, done in one of three
// ways, or dropped for a reason.
type verdict uint8

const (
	next       verdict = iota
	forwarded          // on its way
	consumed           // answered, learned from, or for nobody else
	parked             // waits, and will be judged again
	handedOver         // another worker will judge it
	dropped            // + reason
)

// drop is the verdict for a reason; a drop without one cannot be said.
func drop(r DropReason) verdict { return dropped + verdict(r) }

// reason returns the drop reason, if the verdict is one.
func (v verdict) reason() (DropReason, bool) { return DropReason(v - dropped), v >= dropped }

// An UnsentReason says why a router has not sent a frame of its own: an ICMP error, a RST, or a piece of a
// packet. The names are the words of the counters.
type UnsentReason uint8

// The reasons. An answer that a rule forbids, such as an ICMP error about an ICMP error (RFC 1812, 4.3.2.7) or a
// RST in answer to a RST, is not counted. Frames that a device does not take are in DeviceStats.Lost.
const (
	UnsentRate     UnsentReason = iota // an ICMP error or a RST beyond what the router sends in a second
	UnsentRoute                        // the RST for one side of a connection that ends, to which there is no route
	UnsentNeighbor                     // likewise, where the next hop is not known: a RST is not worth an ARP request
	UnsentSequence                     // likewise, where it is not known which sequence number that side expects
	UnsentFragment                     // a RST in answer to a TCP segment in fragments, whose length is not known
	UnsentPieces                       // a part of a super-frame that cannot be cut any further
	numUnsentReasons
)

var unsentNames = [numUnsentReasons]string{"rate", "no-route", "no-neighbor", "no-sequence", "fragment", "pieces"}

// String returns the reason's name.
func (r UnsentReason) String() string {
	if r < numUnsentReasons {
		return unsentNames[r]
	}
	return "unknown"
}
