//go:build linux

// Command wasmesh-redirect redirects the connections of the pod it runs in to the
// sidecar. It ends at once; the rules stay with the pod.
//
// It is the only program of the mesh that needs NET_ADMIN, so it is small: it
// reads its flags, talks to the kernel, and must never open a connection, read a
// file or start another program.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/wasmesh/wasmesh/injector/redirect"
	"github.com/wasmesh/wasmesh/injector/redirect/netfilter"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// run returns 0 if the rules are in force, and 2 if not.
func run(args []string, stderr io.Writer) int {
	rules, remove, err := read(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil && remove:
		err = netfilter.Remove()
	case err == nil:
		if err = netfilter.Install(rules); err == nil {
			fmt.Fprintf(stderr, "connections are redirected by %d rules:\n", len(rules))
			for _, r := range rules {
				fmt.Fprintln(stderr, "  "+r.String())
			}
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "wasmesh-redirect:", err)
		return 2
	}
	return 0
}

// read makes the rules of the flags.
func read(args []string, stderr io.Writer) (rules []redirect.Rule, remove bool, err error) {
	o := redirect.Options{OutboundPort: redirect.OutboundPort, InboundPort: redirect.InboundPort, ProxyUID: redirect.ProxyUID}
	flags := flag.NewFlagSet("wasmesh-redirect", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&remove, "remove", false, "take the rules away instead")
	flags.Func("outbound-port", "where the sidecar takes what applications dial (15001)", port(&o.OutboundPort))
	flags.Func("inbound-port", "where the sidecar takes what is dialled to them (15006)", port(&o.InboundPort))
	flags.Func("proxy-uid", "user of the sidecar, which is not redirected (1337)", func(text string) error {
		uids, err := redirect.ParseUIDs(text)
		if err != nil || len(uids) != 1 {
			return fmt.Errorf("%q is not one numeric user", text)
		}
		o.ProxyUID = uids[0]
		return nil
	})
	list(flags, "exclude-inbound-ports", "ports to reach the pod at without its sidecar, such as 9090,9091", &o.ExcludeInboundPorts, redirect.ParsePorts)
	list(flags, "exclude-outbound-ports", "ports that the pod dials without its sidecar", &o.ExcludeOutboundPorts, redirect.ParsePorts)
	list[netip.Prefix](flags, "exclude-outbound-cidrs", "networks that the pod dials without its sidecar, such as 10.0.0.0/8", &o.ExcludeOutboundCIDRs, redirect.ParseCIDRs)
	list(flags, "exclude-uids", "users in the pod that dial without its sidecar", &o.ExcludeUIDs, redirect.ParseUIDs)
	if err := flags.Parse(args); err != nil {
		return nil, false, err
	}
	if flags.NArg() > 0 {
		return nil, false, fmt.Errorf("%q is no flag; see --help", flags.Arg(0))
	}
	rules, err = redirect.Rules(o)
	return rules, remove, err
}

func port(into *uint16) func(string) error {
	return func(text string) error {
		ports, err := redirect.ParsePorts(text)
		if err != nil || len(ports) != 1 {
			return fmt.Errorf("%q is not one port", text)
		}
		*into = ports[0]
		return nil
	}
}

func list[T any](flags *flag.FlagSet, name, usage string, into *[]T, parse func(string) ([]T, error)) {
	flags.Func(name, usage, func(text string) (err error) {
		*into, err = parse(text)
		return err
	})
}
