package router

import "github.com/taprouter/taprouter/router/internal/verdict"

// A Verdict is what has become of a frame: Forwarded, Consumed, Parked, or dropped for a reason at a stage
// (Verdict.Dropped). A frame that has been received ends with exactly one.
type Verdict = verdict.Verdict

// The verdicts of frames that were not dropped.
const (
	Forwarded = verdict.Forwarded // on its way
	Consumed  = verdict.Consumed  // answered, learned from, or for no other receiver
	Parked    = verdict.Parked    // waits for a neighbor or for other fragments, and will be judged again
)

// A Stage is a step on the way of a frame: the switch of its network, then the stages of a router, in the order of the
// constants. ARCHITECTURE.md says what each of them does.
type Stage = verdict.Stage

// The stages, in the order in which a frame passes them.
const (
	StageSwitch    = verdict.StageSwitch
	StageIngress   = verdict.StageIngress
	StageARP       = verdict.StageARP
	StageParse     = verdict.StageParse
	StageFragment  = verdict.StageFragment
	StageConntrack = verdict.StageConntrack
	StageDNAT      = verdict.StageDNAT
	StageLocal     = verdict.StageLocal
	StageRoute     = verdict.StageRoute
	StageTTL       = verdict.StageTTL
	StageMTU       = verdict.StageMTU
	StageSNAT      = verdict.StageSNAT
	StageNeighbor  = verdict.StageNeighbor
	StageCommit    = verdict.StageCommit
	StageRewrite   = verdict.StageRewrite
	StageEgress    = verdict.StageEgress
)

// Stages returns every stage, in order.
func Stages() []Stage { return verdict.Stages() }

// A DropReason says why a frame was dropped. ARCHITECTURE.md has a table of all reasons, with the stages at which each
// occurs (DropReason.Stages).
type DropReason = verdict.DropReason

// The drop reasons.
const (
	DropRunt            = verdict.DropRunt
	DropSourceMAC       = verdict.DropSourceMAC
	DropNotOurs         = verdict.DropNotOurs
	DropSamePort        = verdict.DropSamePort
	DropReserved        = verdict.DropReserved
	DropSpoofedMAC      = verdict.DropSpoofedMAC
	DropSpoofedIP       = verdict.DropSpoofedIP
	DropSpoofedARP      = verdict.DropSpoofedARP
	DropDHCPServer      = verdict.DropDHCPServer
	DropRouterAdvert    = verdict.DropRouterAdvert
	DropPortDown        = verdict.DropPortDown
	DropStorm           = verdict.DropStorm
	DropEtherType       = verdict.DropEtherType
	DropVLANTag         = verdict.DropVLANTag
	DropDoubleTag       = verdict.DropDoubleTag
	DropUntagged        = verdict.DropUntagged
	DropARP             = verdict.DropARP
	DropARPSender       = verdict.DropARPSender
	DropLinkBroadcast   = verdict.DropLinkBroadcast
	DropShort           = verdict.DropShort
	DropIPVersion       = verdict.DropIPVersion
	DropIPHeader        = verdict.DropIPHeader
	DropIPChecksum      = verdict.DropIPChecksum
	DropTransport       = verdict.DropTransport
	DropICMPQuote       = verdict.DropICMPQuote
	DropICMPChecksum    = verdict.DropICMPChecksum
	DropOffload         = verdict.DropOffload
	DropSourceRoute     = verdict.DropSourceRoute
	DropIPOptions       = verdict.DropIPOptions
	DropMartianSource   = verdict.DropMartianSource
	DropReversePath     = verdict.DropReversePath
	DropMartianDest     = verdict.DropMartianDest
	DropBroadcast       = verdict.DropBroadcast
	DropFragmentWait    = verdict.DropFragmentWait
	DropFragmentFull    = verdict.DropFragmentFull
	DropFragmentChanged = verdict.DropFragmentChanged
	DropFragmentLocal   = verdict.DropFragmentLocal
	DropICMPType        = verdict.DropICMPType
	DropICMPSequence    = verdict.DropICMPSequence
	DropICMPUnknown     = verdict.DropICMPUnknown
	DropPolicy          = verdict.DropPolicy
	DropNoMapping       = verdict.DropNoMapping
	DropFiltered        = verdict.DropFiltered
	DropNoMember        = verdict.DropNoMember
	DropNotAllowed      = verdict.DropNotAllowed
	DropMemberRefused   = verdict.DropMemberRefused
	DropConnectionLimit = verdict.DropConnectionLimit
	DropRefused         = verdict.DropRefused
	DropEchoRate        = verdict.DropEchoRate
	DropServiceRate     = verdict.DropServiceRate
	DropNoRoute         = verdict.DropNoRoute
	DropTTL             = verdict.DropTTL
	DropTooBig          = verdict.DropTooBig
	DropNeighborFailed  = verdict.DropNeighborFailed
	DropNeighborFull    = verdict.DropNeighborFull
	DropDuplicate       = verdict.DropDuplicate
	DropNeighborRate    = verdict.DropNeighborRate
	DropNotTranslatable = verdict.DropNotTranslatable
	DropNotSYN          = verdict.DropNotSYN
	DropCut             = verdict.DropCut
	DropTCPWindow       = verdict.DropTCPWindow
	DropTableFull       = verdict.DropTableFull
	DropHostShare       = verdict.DropHostShare
	DropNoPort          = verdict.DropNoPort
	DropLoop            = verdict.DropLoop
	DropHandover        = verdict.DropHandover
	DropDetached        = verdict.DropDetached
)

// DropReasons returns every reason, in order.
func DropReasons() []DropReason { return verdict.DropReasons() }

// An UnsentReason says why a router has not sent a frame of its own: an ICMP error, a RST, or a piece of a packet.
type UnsentReason = verdict.UnsentReason

// The reasons why a router has not sent a frame of its own. Frames that a device does not take are in DeviceStats.Lost.
const (
	UnsentRate     = verdict.UnsentRate
	UnsentRoute    = verdict.UnsentRoute
	UnsentNeighbor = verdict.UnsentNeighbor
	UnsentSequence = verdict.UnsentSequence
	UnsentFragment = verdict.UnsentFragment
	UnsentPieces   = verdict.UnsentPieces
)
