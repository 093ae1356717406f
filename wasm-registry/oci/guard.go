package oci

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// guard decides where requests may go. The registry that a person or a manifest
// names is one thing; where that registry then sends us, by a redirect or as
// the place that gives out tokens, is another: it must not use us to reach what
// only we can reach. It looks at the address that is really dialled, so that a
// name cannot change its mind in between.
type guard struct {
	// host is the registry's, without its port.
	host string
	// authority is the registry's, with its port if one is given.
	authority string
	plainHTTP bool
	loopback  bool
	next      http.RoundTripper
}

// Where nobody means to lead us: the machine's own services in clouds, and
// addresses that are none.
func forbidden() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud's metadata
		netip.MustParsePrefix("168.63.129.16/32"),   // Azure's host
		netip.MustParsePrefix("fd00:ec2::254/128"),  // AWS's metadata
	}
}

const (
	dialTimeout   = 10 * time.Second
	headerTimeout = 30 * time.Second
	mostRedirects = 5
)

// client is an HTTP client that g guards. It knows no proxies: through one, the
// address that is dialled would be another's choice.
func (g guard) client() *http.Client {
	g.next = &http.Transport{
		DialContext:            g.dial,
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      true, // a client lives for one image
	}
	return &http.Client{
		Transport: g,
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > mostRedirects {
				return fmt.Errorf("more than %d redirects", mostRedirects)
			}
			return nil
		},
	}
}

// RoundTrip refuses requests in the clear, except to a registry for which they
// are asked for. It sees the requests for tokens and redirects too.
func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && (r.URL.Scheme != "http" || !g.plainHTTP || !strings.EqualFold(r.URL.Host, g.authority)) {
		return nil, fmt.Errorf("%s://%s is not asked for: only https is, or with --plain-http the registry %s itself", r.URL.Scheme, r.URL.Host, g.authority)
	}
	return g.next.RoundTrip(r)
}

func (g guard) dial(ctx context.Context, network, authority string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(authority)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return g.check(host, a.Addr())
	}}
	return d.DialContext(ctx, network, authority)
}

// check says whether an address may be dialled for a host.
func (g guard) check(host string, a netip.Addr) error {
	a = embedded(a.Unmap().WithZone(""))
	named := strings.EqualFold(host, g.host)
	switch {
	case a.IsLoopback() && named && g.loopback:
		return nil
	case a.IsLoopback() && named:
		return fmt.Errorf("%s is at %s, this machine: allow it with --allow-loopback if that is meant", host, a)
	case a.IsLoopback(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast(), within(a, forbidden()):
		return fmt.Errorf("%s is at %s, where no registry is", host, a)
	case !named && (a.IsPrivate() || within(a, carrierGrade())):
		return fmt.Errorf("the registry %s leads to %s at the private address %s", g.host, host, a)
	}
	return nil
}

// embedded is the IPv4 address in one of NAT64, else a.
func embedded(a netip.Addr) netip.Addr {
	if !netip.MustParsePrefix("64:ff9b::/96").Contains(a) {
		return a
	}
	b := a.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// carrierGrade is shared address space: private in all but name.
func carrierGrade() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10")} }

func within(a netip.Addr, all []netip.Prefix) bool {
	for _, p := range all {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
