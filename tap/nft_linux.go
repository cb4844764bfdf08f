package tap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An ingressFilter is a table of nftables' netdev family, with a chain for each
// interface that drops what arrives there. A packet socket has its copy of a frame before
// that. The table has the owner flag: no other socket may change it, a flush of the whole
// rule set passes it over, and the kernel removes it with the socket, however the process ends.
//
// The messages are made here: what the table needs is two of them, and the released
// versions of the Go libraries for nftables do not set a table's flags.
type ingressFilter struct {
	fd    int
	table string
	seq   uint32
}

// The parts of nftables' netlink protocol that x/sys/unix does not have.
const (
	nftTableOwner = 2 // NFT_TABLE_F_OWNER, Linux 5.12
	nftDrop       = 0 // NF_DROP

	// ingressPriority is before whatever else the host has at ingress
	// (such as flow tables), so that it sees no frame either.
	ingressPriority = math.MinInt32 + 1

	// nftTimeout bounds the wait for the kernel's answers.
	nftTimeout = 5 * time.Second
)

// newIngressFilter makes the table, in the network namespace of the calling thread.
func newIngressFilter() (*ingressFilter, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, explainIngress(err)
	}
	f := &ingressFilter{fd: fd}
	if err := f.create(); err != nil {
		f.close()
		return nil, explainIngress(err)
	}
	return f, nil
}

// create binds the socket, whose number makes the table's name unique in the
// namespace, and makes the table.
func (f *ingressFilter) create() error {
	if err := unix.Bind(f.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	timeout := unix.NsecToTimeval(int64(nftTimeout))
	if err := unix.SetsockoptTimeval(f.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	sa, err := unix.Getsockname(f.fd)
	if err != nil {
		return err
	}
	name, ok := sa.(*unix.SockaddrNetlink)
	if !ok {
		return errors.New("the socket has no netlink address")
	}
	f.table = fmt.Sprintf("taprouter-%d", name.Pid)
	return f.change(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(f.table)),
		nl.NewRtAttr(unix.NFTA_TABLE_FLAGS, binary.BigEndian.AppendUint32(nil, nftTableOwner)))
}

// explainIngress says what a kernel lacks.
func explainIngress(err error) error {
	switch {
	case isErrno(err, unix.EPERM, unix.EACCES):
		return fmt.Errorf("it needs CAP_NET_ADMIN: %w", err)
	case isErrno(err, unix.EINVAL, unix.EOPNOTSUPP, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.ENOENT):
		return fmt.Errorf("the kernel lacks nftables' netdev family (CONFIG_NF_TABLES_NETDEV) "+
			"or the owner flag of tables (Linux 5.12): %w", err)
	}
	return fmt.Errorf("nftables: %w", err)
}

// drop has everything dropped that arrives at an interface. The kernel may have kept the
// chain of an interface of that name that is gone.
func (f *ingressFilter) drop(ifname string) error {
	err := f.add(ifname)
	if isErrno(err, unix.EEXIST) {
		f.pass(ifname)
		err = f.add(ifname)
	}
	return err
}

// add adds a chain for an interface. It has no rule: its policy says it all.
func (f *ingressFilter) add(ifname string) error {
	hook := nl.NewRtAttr(unix.NFTA_CHAIN_HOOK|unix.NLA_F_NESTED, nil)
	hook.AddRtAttr(unix.NFTA_HOOK_HOOKNUM, binary.BigEndian.AppendUint32(nil, unix.NF_NETDEV_INGRESS))
	priority := int32(ingressPriority)
	hook.AddRtAttr(unix.NFTA_HOOK_PRIORITY, binary.BigEndian.AppendUint32(nil, uint32(priority)))
	hook.AddRtAttr(unix.NFTA_HOOK_DEV, nl.ZeroTerminated(ifname))
	return f.change(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		nl.NewRtAttr(unix.NFTA_CHAIN_TABLE, nl.ZeroTerminated(f.table)),
		nl.NewRtAttr(unix.NFTA_CHAIN_NAME, nl.ZeroTerminated(ifname)),
		hook,
		nl.NewRtAttr(unix.NFTA_CHAIN_TYPE, nl.ZeroTerminated("filter")),
		nl.NewRtAttr(unix.NFTA_CHAIN_POLICY, binary.BigEndian.AppendUint32(nil, nftDrop)))
}

// pass takes the chain of an interface away. A chain goes by itself with
// its interface, so it may be gone.
func (f *ingressFilter) pass(ifname string) {
	_ = f.change(unix.NFT_MSG_DELCHAIN, 0,
		nl.NewRtAttr(unix.NFTA_CHAIN_TABLE, nl.ZeroTerminated(f.table)),
		nl.NewRtAttr(unix.NFTA_CHAIN_NAME, nl.ZeroTerminated(ifname)))
}

// close takes everything away.
func (f *ingressFilter) close() { _ = unix.Close(f.fd) } // the kernel removes the table

// change has the kernel do one thing: nftables takes it inside a batch only.
func (f *ingressFilter) change(kind uint16, flags uint16, attributes ...*nl.RtAttr) error {
	var body []byte
	for _, a := range attributes {
		body = append(body, a.Serialize()...)
	}
	b := f.message(nil, unix.NFNL_MSG_BATCH_BEGIN, 0, unix.NFNL_SUBSYS_NFTABLES, nil)
	b = f.message(b, unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags|unix.NLM_F_ACK, 0, body)
	asked := f.seq
	b = f.message(b, unix.NFNL_MSG_BATCH_END, 0, unix.NFNL_SUBSYS_NFTABLES, nil)
	if err := unix.Sendto(f.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	return f.acknowledged(asked)
}

// message appends one message; resource is the third field of its nfgenmsg.
func (f *ingressFilter) message(b []byte, kind, flags, resource uint16, body []byte) []byte {
	f.seq++
	order := binary.NativeEndian
	const generic = 4 // nfgenmsg: family, version, resource
	b = order.AppendUint32(b, uint32(unix.SizeofNlMsghdr+generic+len(body)))
	b = order.AppendUint16(b, kind)
	b = order.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = order.AppendUint32(b, f.seq)
	b = order.AppendUint32(b, 0)
	family := byte(unix.NFPROTO_NETDEV)
	if kind == unix.NFNL_MSG_BATCH_BEGIN || kind == unix.NFNL_MSG_BATCH_END {
		family = unix.AF_UNSPEC
	}
	b = append(b, family, unix.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, resource)
	return append(b, body...) // attributes are padded already
}

// acknowledged waits for the answer to a message. A batch that fails as a whole is
// answered by its first message's number.
func (f *ingressFilter) acknowledged(asked uint32) error {
	b := make([]byte, 8192)
	order := binary.NativeEndian
	for {
		n, _, err := unix.Recvfrom(f.fd, b, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		for m := b[:n]; len(m) >= unix.SizeofNlMsghdr+4; {
			length := int(order.Uint32(m))
			if length < unix.SizeofNlMsghdr+4 || length > len(m) {
				break
			}
			seq := order.Uint32(m[8:])
			if order.Uint16(m[4:]) == unix.NLMSG_ERROR && (seq == asked || seq == asked-1) {
				if errno := -int32(order.Uint32(m[unix.SizeofNlMsghdr:])); errno != 0 {
					return unix.Errno(errno)
				}
				if seq == asked {
					return nil
				}
			}
			m = m[min((length+3)&^3, len(m)):]
		}
	}
}
