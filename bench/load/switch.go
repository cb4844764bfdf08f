package load

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A host is one port of a switch: the interface that leads there, and the tag that its frames have on the trunk.
type host struct {
	index int
	vlan  int // 0: none
}

// connect makes the trunk -dev the way to all -hosts, each an interface of this namespace. Programs at the ingress of
// the interfaces have the kernel push and pop the tags and pass the frames on (cls_bpf), as not every kernel has VLAN
// devices. They stay when this process ends.
func connect(o *options, _ io.Writer) error {
	trunk, err := net.InterfaceByName(o.dev)
	if err != nil {
		return err
	}
	hosts, err := parseHosts(o.hosts)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if err := attach(h.index, toTrunk(h, trunk.Index)); err != nil {
			return err
		}
	}
	return attach(trunk.Index, fromTrunk(hosts))
}

// parseHosts reads NAME=VLAN,NAME=VLAN.
func parseHosts(s string) ([]host, error) {
	var all []host
	for part := range strings.SplitSeq(s, ",") {
		name, tag, ok := strings.Cut(part, "=")
		vlan, err := strconv.Atoi(tag)
		if !ok || err != nil || vlan < 0 || vlan > 4094 {
			return nil, fmt.Errorf("-hosts %q: %q is not NAME=VLAN", s, part)
		}
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			return nil, fmt.Errorf("-hosts %q: %s: %w", s, name, err)
		}
		all = append(all, host{index: ifi.Index, vlan: vlan})
	}
	return all, nil
}

// toTrunk gives a host's frames their tag, and passes them on to the trunk.
func toTrunk(h host, trunk int) bpf {
	var p bpf
	if h.vlan != 0 {
		p.op(bpfMov, 2, 0, 0, 0x0081) // 0x8100 as it is in the frame
		p.op(bpfMov, 3, 0, 0, int32(h.vlan))
		p.op(bpfCall, 0, 0, 0, skbVLANPush)
	}
	p.redirect(trunk)
	return p
}

// fromTrunk passes frames on to the host that has their tag, without it. Others are left alone.
func fromTrunk(hosts []host) bpf {
	var p bpf
	p.op(bpfMovReg, 6, 1, 0, 0)
	p.op(bpfLoadWord, 2, 6, skbVLANPresent, 0)
	p.op(bpfLoadWord, 7, 6, skbVLANTCI, 0)
	p.op(bpfAnd, 7, 0, 0, 0xfff)
	for _, h := range hosts {
		if h.vlan == 0 {
			p.op(bpfJumpNotEqual, 2, 0, 4, 0)
		} else {
			p.op(bpfJumpEqual, 2, 0, 7, 0)
			p.op(bpfJumpNotEqual, 7, 0, 6, int32(h.vlan))
			p.op(bpfMovReg, 1, 6, 0, 0)
			p.op(bpfCall, 0, 0, 0, skbVLANPop)
		}
		p.redirect(h.index)
	}
	p.op(bpfMov, 0, 0, 0, 0)
	p.op(bpfExit, 0, 0, 0, 0)
	return p
}

// attach has a program see what comes in at an interface.
func attach(index int, program bpf) error {
	fd, err := program.load()
	if err != nil {
		return fmt.Errorf("load a BPF program: %w", err)
	}
	defer unix.Close(fd)
	clsact := &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index,
		Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := netlink.QdiscAdd(clsact); err != nil {
		return fmt.Errorf("clsact qdisc: %w", err)
	}
	filter := &netlink.BpfFilter{FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS,
		Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1}, Fd: fd, Name: "switch", DirectAction: true}
	if err := netlink.FilterAdd(filter); err != nil {
		return fmt.Errorf("cls_bpf: %w", err)
	}
	return nil
}

// A bpf is an eBPF program for frames (linux/bpf.h).
type bpf []byte

// The instructions, helpers and fields of struct __sk_buff that the programs use.
const (
	bpfMovReg       = 0xbf
	bpfMov          = 0xb7
	bpfAnd          = 0x57
	bpfLoadWord     = 0x61
	bpfJumpEqual    = 0x15
	bpfJumpNotEqual = 0x55
	bpfCall         = 0x85
	bpfExit         = 0x95

	skbVLANPush = 18
	skbVLANPop  = 19
	bpfRedirect = 23

	skbVLANPresent = 20
	skbVLANTCI     = 24
)

// op adds an instruction.
func (p *bpf) op(code, dst, src byte, off int16, imm int32) {
	b := append(*p, code, src<<4|dst)
	b = binary.NativeEndian.AppendUint16(b, uint16(off))
	*p = binary.NativeEndian.AppendUint32(b, uint32(imm))
}

// redirect ends the program: the frame goes out at an interface. It has four instructions, over which fromTrunk jumps.
func (p *bpf) redirect(index int) {
	p.op(bpfMov, 1, 0, 0, int32(index))
	p.op(bpfMov, 2, 0, 0, 0)
	p.op(bpfCall, 0, 0, 0, bpfRedirect)
	p.op(bpfExit, 0, 0, 0, 0)
}

// load gives the program to the kernel. The caller closes the descriptor.
func (p bpf) load() (int, error) {
	const progLoad, schedCLS = 5, 3
	license := []byte("GPL\x00")
	log := make([]byte, 1<<16)
	attr := struct {
		typ, count        uint32
		insns, license    uint64
		logLevel, logSize uint32
		log               uint64
		version, flags    uint32
	}{schedCLS, uint32(len(p) / 8), uint64(uintptr(unsafe.Pointer(&p[0]))),
		uint64(uintptr(unsafe.Pointer(&license[0]))), 1, uint32(len(log)),
		uint64(uintptr(unsafe.Pointer(&log[0]))), 0, 0}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, progLoad, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return -1, fmt.Errorf("%w: %s", errno, unix.ByteSliceToString(log))
	}
	return int(fd), nil
}
