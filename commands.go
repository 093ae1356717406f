package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/scrape"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/status"
	"github.com/wasmesh/wasmesh/controlplane/webhookcert"
	"github.com/wasmesh/wasmesh/examples/bookstore/demo"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/injector/envoy"
	"github.com/wasmesh/wasmesh/wasm-registry/inspect"
)

const (
	defaultTrustDomain = "wasmesh.local"
	defaultState       = ".state"
	defaultTools       = ".tools"
)

// meshFlags are the settings that every reading of manifests depends on.
func meshFlags(f *flag.FlagSet, s *smi.Settings) {
	f.StringVar(&s.TrustDomain, "trust-domain", defaultTrustDomain, "authority of all SPIFFE IDs")
	f.BoolVar(&s.PathFull, "path-full", false, "a pathRegex describes the whole path, not its start")
	f.TextVar(&s.Mode, "mode", policy.Enforce, "enforce, audit or permissive, where a namespace's label "+smi.ModeLabel+" says nothing")
	f.BoolVar(&s.Grace, "grace", false, "let callers without a sidecar in, where a namespace's label "+smi.PlaintextLabel+" says nothing")
}

func runControlPlane(ctx context.Context, args []string, _, stderr io.Writer) error {
	o := controlplane.Options{Log: slog.New(slog.NewTextHandler(stderr, nil)), Inspect: inspect.Inspector{}.Inspect}
	f := flags("controlplane", stderr)
	f.StringVar(&o.Source, "source", "", "folder of manifests")
	cluster := clusterFlags(f)
	f.StringVar(&o.Health, "health", "", "address of the probes /ready and /healthy and of /metrics, such as :15021 (default none)")
	f.StringVar(&o.Peers, "peers", "", "address at which other replicas ask which sidecars this one serves, such as :15016 (default none; needs --kubernetes)")
	f.StringVar(&o.Webhook, "webhook", "", "address of the validating webhook, such as :15014 (default none; needs --kubernetes)")
	f.DurationVar(&o.WebhookLife, "webhook-life", webhookcert.DefaultLife, "life of the webhook's certificate, which is replaced with a third of it left")
	f.StringVar(&o.Metrics.Address, "metrics-api", "", "address of SMI's traffic metrics over HTTPS, such as :15017 (default none)")
	f.StringVar(&o.Metrics.Prometheus, "prometheus", "", "URL of a Prometheus that scrapes the sidecars, such as http://prometheus:9090 (default: the control plane scrapes them itself)")
	f.DurationVar(&o.Metrics.Interval, "scrape-interval", scrape.DefaultInterval, "time between two scrapes of a sidecar, where the control plane does it")
	f.Float64Var(&o.AccessLog, "access-log-percent", 0, "share of requests and connections that sidecars log as JSON; from 0, none, to 100")
	f.StringVar(&o.Tracing.Collector, "tracing-collector", "", "host:port of an OpenTelemetry collector that sidecars tell of requests, by OTLP over gRPC (default none)")
	f.StringVar(&o.Tracing.Roots, "tracing-roots", "", "file of PEM roots by which the collector is known (default: it is spoken to in the clear)")
	f.Float64Var(&o.Tracing.Percent, "tracing-percent", 1, "share of requests that begin a trace; from 0 to 100")
	f.BoolVar(&o.Metrics.Plaintext, "plaintext-metrics", false, "let everybody who reaches a workload read its sidecar's metrics at port 15091, in the clear, for a Prometheus of yours")
	f.StringVar(&o.State, "state", defaultState, "folder of the authority's key and the join tokens")
	f.StringVar(&o.Module, "module", "bin/mesh.wasm", "filter module; read again when it changes")
	f.StringVar(&o.Modules, "modules", "", "folder that keeps modules by digest (default STATE/modules)")
	f.StringVar(&o.XDS, "xds", "127.0.0.1:15010", "address for sidecars")
	f.StringVar(&o.Join, "join", "127.0.0.1:15012", "address at which sidecars join")
	f.StringVar(&o.Registry, "registry", "127.0.0.1:15013", "address at which sidecars fetch modules")
	f.StringVar(&o.Status, "status", "", "Unix socket that tells the state (default STATE/status.sock)")
	f.StringVar(&o.Authority, "authority", "", "folder with an intermediate authority that signs, as cert-manager writes it: tls.crt, tls.key, ca.crt (default: a root of the mesh's own)")
	f.StringVar(&o.AlsoTrust, "also-trust", "", "file of PEM roots that workloads trust besides: of the authority that will sign, or did (default none)")
	f.DurationVar(&o.LeafLifetime, "leaf-lifetime", ca.DefaultLeafLifetime, "life of a workload's certificate")
	f.Var((*list)(&o.InsecureRegistries), "insecure-registry", "host:port of a registry that may be on this machine and is spoken to in the clear; may be repeated")
	meshFlags(f, &o.Settings)
	if _, err := parse(f, args); err != nil {
		return err
	}
	var err error
	if o.Kubernetes, err = cluster(o.Source, o.Log); err != nil {
		return err
	}
	if o.Modules == "" {
		o.Modules = filepath.Join(o.State, "modules")
	}
	if o.Status == "" {
		o.Status = filepath.Join(o.State, "status.sock")
	}
	return controlplane.Run(ctx, o)
}

func runToken(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("token create", stderr)
	state := f.String("state", defaultState, "the control plane's state folder")
	workload := f.String("workload", "", "namespace/name of the Workload that may join")
	ttl := f.Duration("ttl", 10*time.Minute, "how long the token can be used")
	plain, err := parse(f, args)
	if err != nil {
		return err
	}
	if len(plain) != 1 || plain[0] != "create" {
		return errors.New("the only thing to do with a token is create")
	}
	name, ok := mesh.ParseName(*workload)
	if !ok {
		return fmt.Errorf("--workload %q is not namespace/name", *workload)
	}
	authority, err := ca.Open(*state, ca.Options{})
	if err != nil {
		return err
	}
	token, err := authority.CreateToken(name, *ttl)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, token)
	return err
}

func runStatus(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("status", stderr)
	socket := f.String("status", filepath.Join(defaultState, "status.sock"), "the control plane's Unix socket")
	output := f.String("o", "text", "text or json")
	if _, err := parse(f, args); err != nil {
		return err
	}
	if *output != "text" && *output != "json" {
		return fmt.Errorf("-o %q is neither text nor json", *output)
	}
	var s controlplane.Status
	if err := askControlPlane(ctx, *socket, "/status", &s); err != nil {
		return err
	}
	if *output == "json" {
		return printJSON(stdout, s)
	}
	width, terminal := demo.Width(stdout)
	look := status.Look{Width: width, Now: time.Now(), Colour: terminal && os.Getenv("NO_COLOR") == ""}
	_, err := fmt.Fprint(stdout, s.Text(look))
	return err
}

// overSocket is a client whose every request goes to one Unix socket.
func overSocket(path string) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
}

// askControlPlane reads what a control plane tells at its Unix socket.
func askControlPlane(ctx context.Context, socket, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://controlplane"+path, nil)
	if err != nil {
		return err
	}
	resp, err := overSocket(socket).Do(req)
	if err != nil {
		return fmt.Errorf("no control plane answers at %s: %w; is it running, with the same --state?", socket, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s from %s: the control plane answers %s; is it of this version?", path, socket, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("%s from %s: %w", path, socket, err)
	}
	return nil
}

func runEnvoy(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("envoy", stderr)
	tools := f.String("tools", defaultTools, "folder to fetch Envoy into")
	if _, err := parse(f, args); err != nil {
		return err
	}
	found, err := envoy.Find(ctx, *tools)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, found.Path)
	return err
}

func runDemo(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o demo.Options
	f := flags("demo", stderr)
	f.StringVar(&o.Source, "source", "examples/bookstore", "folder of manifests")
	f.StringVar(&o.Bin, "bin", "bin", "folder of the binaries that make builds")
	f.StringVar(&o.Tools, "tools", defaultTools, "folder to fetch Envoy into")
	f.StringVar(&o.Work, "work", "", "folder for logs and state (default: a new one, removed at the end)")
	if _, err := parse(f, args); err != nil {
		return err
	}
	return demo.Run(ctx, o, stdout)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
