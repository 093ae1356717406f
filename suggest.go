package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/wasmesh/wasmesh/controlplane"
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
	snapshot, err := d.snapshot(stderr)
	if err != nil {
		return err
	}
	s := suggest.Suggest(seen.Report, snapshot)
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
