package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/wasmesh/wasmesh/controlplane/check"
	"github.com/wasmesh/wasmesh/controlplane/explain"
	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// folder is what every offline command starts from.
type folder struct {
	dir      string
	output   string
	settings smi.Settings
}

func folderFlags(f *flag.FlagSet, d *folder) {
	f.StringVar(&d.dir, "f", "", "folder of manifests")
	f.StringVar(&d.output, "o", "text", "text or json")
	meshFlags(f, &d.settings)
}

// valid says what is missing before anything is read.
func (d folder) valid() error {
	if d.dir == "" {
		return errors.New("-f is missing; give the folder of manifests")
	}
	if d.output != "text" && d.output != "json" {
		return fmt.Errorf("-o %q is neither text nor json", d.output)
	}
	return nil
}

// snapshot reads the folder. Problems go to stderr: the answer is given from
// what is good, as the control plane would.
func (d folder) snapshot(stderr io.Writer) (*mesh.Snapshot, error) {
	loaded, err := files.Load(d.dir)
	if err != nil {
		return nil, err
	}
	s, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, d.settings)
	for _, p := range append(loaded.Problems, problems...) {
		p.Where = loaded.Locate(p)
		fmt.Fprintln(stderr, p)
	}
	return s, nil
}

func runCheck(_ context.Context, args []string, stdout, stderr io.Writer) error {
	var d folder
	f := flags("check", stderr)
	folderFlags(f, &d)
	if _, err := parse(f, args); err != nil {
		return err
	}
	if err := d.valid(); err != nil {
		return err
	}
	report, err := check.Check(d.dir, d.settings)
	if err != nil {
		return err
	}
	if d.output == "json" {
		err = printJSON(stdout, report)
	} else {
		_, err = fmt.Fprint(stdout, report)
	}
	if err == nil && !report.OK() {
		return errNo
	}
	return err
}

func runExplain(_ context.Context, args []string, stdout, stderr io.Writer) error {
	var d folder
	var from, to, service string
	var headers list
	f := flags("explain", stderr)
	folderFlags(f, &d)
	f.StringVar(&from, "from", "", "caller's service account, namespace/name")
	f.StringVar(&to, "to", "", "destination's service account, namespace/name[:port]")
	f.StringVar(&service, "service", "", "instead of --to, what the caller dials, namespace/name[:port]: also says how it is split")
	f.Var(&headers, "H", "request header, 'name: value'; may be repeated")
	plain, err := parse(f, args)
	if err != nil {
		return err
	}
	if err := d.valid(); err != nil {
		return err
	}
	if (to == "") == (service == "") {
		return errors.New("give either --to, a service account, or --service, what the caller dials")
	}
	asked, dialled := "--to", service != ""
	if dialled {
		asked, to = "--service", service
	}
	q, err := question(from, asked, to, plain, headers)
	if err != nil {
		return err
	}
	s, err := d.snapshot(stderr)
	if err != nil {
		return err
	}
	answer, allow, err := ask(s, q, dialled)
	if err != nil {
		return err
	}
	if d.output == "json" {
		err = printJSON(stdout, answer)
	} else {
		_, err = fmt.Fprint(stdout, answer)
	}
	if err == nil && !allow {
		return errNo
	}
	return err
}

// ask answers for a destination, or for a service that the caller dials.
func ask(s *mesh.Snapshot, q explain.Question, dialled bool) (fmt.Stringer, bool, error) {
	if dialled {
		a, err := explain.AskService(s, q)
		return a, a.Allow, err
	}
	a, err := explain.Ask(s, q)
	return a, a.Allow, err
}

// question reads what explain was asked; asked is the flag that to came with.
func question(from, asked, to string, plain, headers []string) (explain.Question, error) {
	var q explain.Question
	var ok bool
	if q.From, ok = mesh.ParseName(from); !ok {
		return q, fmt.Errorf("--from %q is not namespace/service-account", from)
	}
	account, port, hasPort := strings.Cut(to, ":")
	if q.To, ok = mesh.ParseName(account); !ok {
		return q, fmt.Errorf("%s %q is not namespace/name[:port]", asked, to)
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return q, fmt.Errorf("%s %q: %q is no port", asked, to, port)
		}
		q.Port = uint16(n)
	}
	switch len(plain) {
	case 0: // a connection to an opaque port
	case 2:
		q.Method, q.Path = plain[0], plain[1]
	default:
		return q, fmt.Errorf("a request is METHOD PATH, such as GET /books, and a connection to an opaque port is nothing; got %q", plain)
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return q, fmt.Errorf("-H %q is not 'name: value'", h)
		}
		q.Headers = append(q.Headers, policy.Header{Name: strings.ToLower(name), Value: strings.TrimSpace(value)})
	}
	return q, nil
}

// runXDS prints resources as JSON, by type and name: what to diff and to paste.
func runXDS(_ context.Context, args []string, stdout, stderr io.Writer) error {
	var d folder
	f := flags("xds", stderr)
	folderFlags(f, &d)
	proxy := f.String("proxy", "", "the Workload's namespace/name")
	digest := f.String("module", strings.Repeat("0", 64), "digest of the filter module")
	if _, err := parse(f, args); err != nil {
		return err
	}
	w, s, err := d.workload(*proxy, stderr)
	if err != nil {
		return err
	}
	out := map[string]map[string]json.RawMessage{}
	for typeURL, byName := range xds.Build(s, w.Name, xds.Settings{Module: *digest}) {
		out[typeURL] = map[string]json.RawMessage{}
		for name, m := range byName {
			if out[typeURL][name], err = protojson.Marshal(m); err != nil {
				return fmt.Errorf("%s %s: %w", typeURL, name, err)
			}
		}
	}
	return printJSON(stdout, out)
}

// runHosts prints lines of a hosts file.
func runHosts(_ context.Context, args []string, stdout, stderr io.Writer) error {
	var d folder
	f := flags("hosts", stderr)
	folderFlags(f, &d)
	proxy := f.String("proxy", "", "the Workload's namespace/name")
	if _, err := parse(f, args); err != nil {
		return err
	}
	w, s, err := d.workload(*proxy, stderr)
	if err != nil {
		return err
	}
	for _, service := range s.Services {
		fmt.Fprintf(stdout, "%-15s  %s.%s\n", w.AddressOf(service), service.Name.Name, service.Name.Namespace)
	}
	return nil
}

// workload reads the folder and finds one workload in it.
func (d folder) workload(proxy string, stderr io.Writer) (mesh.Workload, *mesh.Snapshot, error) {
	if err := d.valid(); err != nil {
		return mesh.Workload{}, nil, err
	}
	s, err := d.snapshot(stderr)
	if err != nil {
		return mesh.Workload{}, nil, err
	}
	name, ok := mesh.ParseName(proxy)
	if !ok {
		return mesh.Workload{}, nil, fmt.Errorf("--proxy %q is not namespace/name", proxy)
	}
	w, ok := s.Workload(name)
	if !ok {
		known := map[string]bool{}
		for _, w := range s.Workloads {
			known[w.Name.String()] = true
		}
		return w, nil, fmt.Errorf("there is no Workload %s in %s; there are %s", name, d.dir,
			strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	return w, s, nil
}
