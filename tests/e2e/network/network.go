// Package network gives pods their network: a namespace per pod with one IPv4 and
// one IPv6 address, routed through the node, where cluster IPs are translated as
// kube-proxy does it; and the cluster's DNS. It is for tests only: it must never
// be used outside of a network namespace that the tests made.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The addresses of the rig. NodeIP is on the node's loopback, so that pods reach
// the API server, the name server and the node agent by it.
var (
	NodeIP   = netip.MustParseAddr("10.244.0.1")
	NodeIPv6 = netip.MustParseAddr("fd00:244::1")
	// APIServerIP is the cluster IP of the Service kubernetes.
	APIServerIP = netip.MustParseAddr("10.96.0.1")
	gatewayIPv6 = netip.MustParseAddr("fe80::1")
)

// Network is the node's network. It is safe for concurrent use.
type Network struct {
	mu   sync.Mutex
	last netip.Addr
	next int
}

// Pod is the network of one pod.
type Pod struct {
	IPs  []netip.Addr // IPv4, then IPv6
	ns   *os.File     // nil where the pod has the node's network
	link string       // the node's end
}

// New makes the namespace that this process runs in the node's.
func New() (*Network, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	for _, a := range []netip.Addr{NodeIP, NodeIPv6, APIServerIP} {
		if err := addAddress(lo, a); err != nil {
			return nil, err
		}
	}
	return &Network{last: NodeIP.Next().Next()}, errors.Join(
		sysctl("net/ipv4/ip_forward", "1"),
		sysctl("net/ipv6/conf/all/forwarding", "1"))
}

// HostPod is the network of a pod that has the node's.
func (n *Network) HostPod() *Pod { return &Pod{IPs: []netip.Addr{NodeIP, NodeIPv6}} }

// Add makes the network of one more pod. No address is given twice in a run, so
// that what is left of a pod that ended cannot meet its successor.
func (n *Network) Add() (*Pod, error) {
	n.mu.Lock()
	n.last = n.last.Next()
	n.next++
	v4, link := n.last, fmt.Sprintf("wmrig-%d", n.next)
	n.mu.Unlock()
	b := v4.As4()
	v6 := NodeIPv6.As16()
	v6[14], v6[15] = b[2], b[3]
	p := &Pod{IPs: []netip.Addr{v4, netip.AddrFrom16(v6)}, link: link}
	host, peer, err := p.connect()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("network of pod %v: %w", v4, err), p.Close())
	}
	if err := n.route(p, host, peer); err != nil {
		return nil, errors.Join(fmt.Errorf("routes of pod %v: %w", v4, err), p.Close())
	}
	return p, nil
}

// connect makes the pod's namespace and the pair of links into it.
func (p *Pod) connect() (host, peer netlink.Link, err error) {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = p.link
	err = inNew(func(ns *os.File) error {
		p.ns = ns
		return errors.Join(sysctl("net/ipv4/ip_unprivileged_port_start", "0"))
	})
	if err != nil {
		return nil, nil, err
	}
	veth := &netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(p.ns.Fd())}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, nil, err
	}
	if host, err = netlink.LinkByName(p.link); err != nil {
		return nil, nil, err
	}
	err = p.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if peer, err = netlink.LinkByName("eth0"); err != nil {
			return err
		}
		for _, a := range p.IPs {
			if err := addAddress(peer, a); err != nil {
				return err
			}
		}
		return errors.Join(netlink.LinkSetUp(lo), netlink.LinkSetUp(peer))
	})
	return host, peer, err
}

// route tells each side the way to the other. Neighbours are written down, not
// asked for: duplicate address detection would take two seconds per pod.
func (n *Network) route(p *Pod, host, peer netlink.Link) error {
	if err := netlink.LinkSetUp(host); err != nil {
		return err
	}
	for _, a := range p.IPs {
		if err := neighbour(host, a, peer.Attrs().HardwareAddr); err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: host.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: whole(a)}); err != nil {
			return err
		}
	}
	return p.Do(func() error {
		for _, g := range []netip.Addr{NodeIP, gatewayIPv6} {
			if err := neighbour(peer, g, host.Attrs().HardwareAddr); err != nil {
				return err
			}
			all := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
			if g.Is6() {
				all = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
			}
			route := &netlink.Route{LinkIndex: peer.Attrs().Index, Dst: all, Gw: g.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
			if err := netlink.RouteAdd(route); err != nil {
				return fmt.Errorf("default route by %v: %w", g, err)
			}
		}
		return nil
	})
}

// Do runs f on a thread that is in the pod's network: what f starts is too.
func (p *Pod) Do(f func() error) error {
	if p.ns == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		own, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer own.Close()
		if err := unix.Setns(int(p.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the pod's network: %w", err)
			return
		}
		err = f()
		if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread() // else the thread ends with the goroutine
		}
		done <- err
	}()
	return <-done
}

// Close takes the pod's network down once its last process has ended.
func (p *Pod) Close() error {
	if p.ns == nil {
		return nil
	}
	err := p.ns.Close()
	if link, e := netlink.LinkByName(p.link); e == nil {
		err = errors.Join(err, netlink.LinkDel(link))
	}
	return err
}

// inNew runs f on a thread in a new network namespace, and hands it to f.
func inNew(f func(ns *os.File) error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err == nil {
			err = f(ns)
		}
		done <- err
	}()
	return <-done
}

func addAddress(link netlink.Link, a netip.Addr) error {
	err := netlink.AddrAdd(link, &netlink.Addr{IPNet: whole(a), Flags: unix.IFA_F_NODAD})
	if err != nil {
		return fmt.Errorf("address %v on %s: %w", a, link.Attrs().Name, err)
	}
	return nil
}

func neighbour(link netlink.Link, a netip.Addr, mac net.HardwareAddr) error {
	return netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: a.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT})
}

func whole(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

func sysctl(key, value string) error {
	return os.WriteFile("/proc/sys/"+key, []byte(value), 0o644)
}
