//go:build linux

package e2e_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A tagger is the far end of a trunk: hosts, each behind a cable of its own, whose frames have a tag on the trunk. It
// shares nothing with the router. Where the kernel has VLAN devices, these do it; else programs at the ingress of the
// interfaces do, which have the kernel push and pop tags and pass frames on (cls_bpf).
type tagger struct {
	at    *space // has the trunk's end
	trunk string
	port  string // how the names of the hosts' cables begin there
}

// kernelVLANs reports whether the kernel has VLAN devices.
func (g *tagger) kernelVLANs() bool {
	v := &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "probe", ParentIndex: g.at.link(g.trunk).Attrs().Index},
		VlanId: 4000}
	if g.at.LinkAdd(v) != nil {
		return false
	}
	_ = g.at.LinkDel(v)
	return true
}

// connect gives each host the interface eth0, whose frames have the host's tag on the trunk; 0: none. It returns how
// the tags are made.
func (g *tagger) connect(t *testing.T, hosts map[uint16]*space) string {
	t.Helper()
	w := g.at.w
	if _, untagged := hosts[0]; !untagged && g.kernelVLANs() {
		for vlan, host := range hosts {
			name := fmt.Sprint("v", vlan)
			w.check(g.at.LinkAdd(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name,
				ParentIndex: g.at.link(g.trunk).Attrs().Index}, VlanId: int(vlan)}))
			l := host.adopt(g.at, name)
			w.check(host.LinkSetDown(l))
			w.check(host.LinkSetName(l, "eth0"))
			w.check(host.LinkSetUp(l))
		}
		return "VLAN devices"
	}
	var in bpf
	trunk := g.at.link(g.trunk).Attrs().Index
	in.op(bpfMovReg, 6, 1, 0, 0)
	in.op(bpfLoadWord, 2, 6, skbVLANPresent, 0)
	in.op(bpfLoadWord, 7, 6, skbVLANTCI, 0)
	in.op(bpfAnd, 7, 0, 0, 0xfff)
	for vlan, host := range hosts {
		name := fmt.Sprint(g.port, vlan)
		w.veth(host, "eth0", g.at, name)
		port := g.at.link(name)
		if vlan == 0 {
			in.op(bpfJumpNotEqual, 2, 0, 4, 0)
		} else {
			in.op(bpfJumpEqual, 2, 0, 7, 0)
			in.op(bpfJumpNotEqual, 7, 0, 6, int32(vlan))
			in.op(bpfMovReg, 1, 6, 0, 0)
			in.op(bpfCall, 0, 0, 0, skbVLANPop)
		}
		in.op(bpfMov, 1, 0, 0, int32(port.Attrs().Index))
		in.op(bpfMov, 2, 0, 0, 0)
		in.op(bpfCall, 0, 0, 0, bpfRedirect)
		in.op(bpfExit, 0, 0, 0, 0)

		var out bpf
		if vlan != 0 {
			out.op(bpfMov, 2, 0, 0, 0x0081) // 0x8100 as it is in the frame
			out.op(bpfMov, 3, 0, 0, int32(vlan))
			out.op(bpfCall, 0, 0, 0, skbVLANPush)
		}
		out.op(bpfMov, 1, 0, 0, int32(trunk))
		out.op(bpfMov, 2, 0, 0, 0)
		out.op(bpfCall, 0, 0, 0, bpfRedirect)
		out.op(bpfExit, 0, 0, 0, 0)
		g.attach(t, name, out)
	}
	in.op(bpfMov, 0, 0, 0, 0) // all other frames are the trunk's end's own
	in.op(bpfExit, 0, 0, 0, 0)
	g.attach(t, g.trunk, in)
	return "cls_bpf"
}

// attach has a program see what comes in at an interface.
func (g *tagger) attach(t *testing.T, name string, program bpf) {
	t.Helper()
	fd, err := program.load()
	if err != nil {
		missing(t, fmt.Sprintf("BPF programs for frames: %v", err))
	}
	defer unix.Close(fd)
	index := g.at.link(name).Attrs().Index
	clsact := &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index,
		Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := g.at.QdiscAdd(clsact); err != nil {
		missing(t, fmt.Sprintf("the clsact qdisc in this kernel: %v", err))
	}
	filter := &netlink.BpfFilter{FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS,
		Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1}, Fd: fd, Name: "tagger", DirectAction: true}
	if err := g.at.FilterAdd(filter); err != nil {
		missing(t, fmt.Sprintf("cls_bpf in this kernel: %v", err))
	}
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
