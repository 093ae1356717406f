package capture

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// The node's addresses on the bridge, and one that is not of the mesh's network.
var (
	node4    = netip.MustParseAddr("10.245.0.1")
	node6    = netip.MustParseAddr("fd00:245::1")
	outside4 = netip.MustParseAddr("192.0.2.10")
)

// node is this process's own network: a bridge that pods are plugged into.
type node struct {
	bridge *netlink.Bridge
	pods   int
}

// must keeps the steps that make a network readable.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newNode(t *testing.T) *node {
	t.Helper()
	lo := must[netlink.Link](t)(netlink.LinkByName("lo"))
	check(t, netlink.LinkSetUp(lo))
	assign(t, netlink.LinkSetUp, lo, netip.PrefixFrom(outside4, 32))
	n := &node{bridge: &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "pods"}}}
	check(t, netlink.LinkAdd(n.bridge))
	assign(t, netlink.LinkSetUp, n.bridge, netip.PrefixFrom(node4, 16), netip.PrefixFrom(node6, 64))
	return n
}

// assign gives a link addresses and brings it up. Without detection of duplicates,
// which would keep an IPv6 address unusable for two seconds.
func assign(t *testing.T, up func(netlink.Link) error, link netlink.Link, addresses ...netip.Prefix) {
	t.Helper()
	for _, a := range addresses {
		ip := &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}
		address := &netlink.Addr{IPNet: ip}
		if a.Addr().Is6() {
			address.Flags = syscall.IFA_F_NODAD
		}
		check(t, netlink.AddrAdd(link, address))
	}
	check(t, up(link))
}

// space is the network namespace of one pod.
type space struct {
	name   string
	handle netns.NsHandle
	four   netip.Addr
	six    netip.Addr
	// jobs run on one thread that lives as long as the namespace is used: the
	// kernel ends a child with the thread that forked it.
	jobs chan func()
}

// pod makes a namespace on the bridge.
func (n *node) pod(t *testing.T, name string) *space {
	t.Helper()
	n.pods++
	s := &space{
		name: name, four: netip.AddrFrom4([4]byte{10, 245, 0, byte(10 + n.pods)}),
		six: netip.MustParseAddr(fmt.Sprintf("fd00:245::%x", 0x10+n.pods)),
	}
	outer, inner := fmt.Sprintf("pod%d", n.pods), fmt.Sprintf("in%d", n.pods)
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: outer, MasterIndex: n.bridge.Index}, PeerName: inner}))
	check(t, netlink.LinkSetUp(must[netlink.Link](t)(netlink.LinkByName(outer))))
	peer := must[netlink.Link](t)(netlink.LinkByName(inner))
	made := make(chan error)
	s.jobs = make(chan func())
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with us
		var err error
		s.handle, err = netns.New()
		made <- err
		for job := range s.jobs {
			job()
		}
	}()
	check(t, <-made)
	t.Cleanup(func() { close(s.jobs); s.handle.Close() })
	check(t, netlink.LinkSetNsFd(peer, int(s.handle)))
	s.do(func() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			t.Error(err)
			return
		}
		link := must[netlink.Link](t)(netlink.LinkByName(inner))
		assign(t, netlink.LinkSetUp, link, netip.PrefixFrom(s.four, 16), netip.PrefixFrom(s.six, 64))
		for _, gateway := range []netip.Addr{node4, node6} {
			check(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()}))
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return s
}

// do runs f in the namespace and waits for it.
func (s *space) do(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends, and nobody inherits its namespace
		if err := netns.Set(s.handle); err != nil {
			panic(err)
		}
		f()
	}()
	<-done
}

// start runs a program in the namespace, as a user.
func (s *space) start(command *exec.Cmd, user uint32) error {
	command.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: user, Gid: user},
	}
	result := make(chan error)
	s.jobs <- func() { result <- command.Start() }
	return <-result
}

// listen opens a socket in the namespace.
func (s *space) listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var l net.Listener
	var err error
	s.do(func() { l, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address) })
	check(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// dial connects from the namespace, as an application would.
func (s *space) dial(ctx context.Context, to string) (conn net.Conn, err error) {
	s.do(func() { conn, err = new(net.Dialer).DialContext(ctx, "tcp", to) })
	return conn, err
}

// self is this process's own namespace.
func (n *node) self(t *testing.T) netns.NsHandle {
	t.Helper()
	h := must[netns.NsHandle](t)(netns.Get())
	t.Cleanup(func() { h.Close() })
	return h
}

// route sends what is meant for one address by another pod.
func (s *space) route(t *testing.T, to, by netip.Addr) {
	t.Helper()
	s.do(func() {
		target := &net.IPNet{IP: to.AsSlice(), Mask: net.CIDRMask(32, 32)}
		if err := netlink.RouteAdd(&netlink.Route{Dst: target, Gw: by.AsSlice()}); err != nil {
			t.Error(err)
		}
	})
}
