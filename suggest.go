package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/suggest"
)

// runSuggest asks the control plane what was seen, and a folder what is allowed.
func runSuggest(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("suggest", stderr)
	socket := f.String("status", filepath.Join(defaultState, "status.sock"), "the control plane's Unix socket")
	dir := f.String("f", "", "folder of manifests that say what is allowed already (default the control plane's own)")
	if _, err := parse(f, args); err != nil {
		return err
	}
	var seen controlplane.Observed
	if err := askControlPlane(ctx, *socket, "/observations", &seen); err != nil {
		return err
	}
	if len(seen.Report.Observations) == 0 && len(seen.Report.Losses) == 0 {
		fmt.Fprintln(stderr, "nothing was seen yet; only workloads of a namespace in mode audit or permissive tell what reaches them")
		return errNo
	}
	d := folder{dir: *dir, settings: seen.Settings}
	if d.dir == "" {
		d.dir = seen.Source
	}
	if d.dir == "" {
		return errors.New("this control plane serves a cluster, not a folder: save its objects (kubectl get -A -o yaml) into one and give it with -f")
	}
	snapshot, err := d.snapshot(stderr)
	if err != nil {
		return err
	}
	names, err := namesIn(d.dir)
	if err != nil {
		return err
	}
	s := suggest.Suggest(seen.Report, snapshot, names...)
	for _, r := range s.Remarks {
		fmt.Fprintf(stderr, "%s: %s\n", r.Kind, r)
	}
	text, err := s.YAML()
	if err != nil {
		return err
	}
	_, err = stdout.Write(text)
	return err
}

// namesIn lists the objects of a folder whose names a suggestion must not take.
func namesIn(dir string) ([]mesh.Object, error) {
	loaded, err := files.Load(dir)
	if err != nil {
		return nil, err
	}
	var out []mesh.Object
	add := func(kind string, o metav1.Object) {
		out = append(out, mesh.Object{Kind: kind, Name: mesh.Name{Namespace: o.GetNamespace(), Name: o.GetName()}})
	}
	for _, o := range loaded.Objects.TrafficTargets {
		add(smi.KindTrafficTarget, o)
	}
	for _, o := range loaded.Objects.HTTPRouteGroups {
		add(smi.KindHTTPRouteGroup, o)
	}
	for _, o := range loaded.Objects.TCPRoutes {
		add(smi.KindTCPRoute, o)
	}
	return out, nil
}
