package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/show"
	"github.com/wasmesh/wasmesh/examples/bookstore/demo"
)

// trafficFlags say which control plane is asked about which window.
func trafficFlags(f *flag.FlagSet) (socket *string, window *time.Duration) {
	return f.String("status", filepath.Join(defaultState, "status.sock"), "the control plane's Unix socket"),
		f.Duration("t", 30*time.Second, "window of time that is told about")
}

// askTraffic tells of a refusal what the control plane says.
func askTraffic(ctx context.Context, socket string, window time.Duration) (t controlplane.Traffic, err error) {
	address := "http://controlplane/traffic?" + url.Values{"t": {window.String()}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return t, err
	}
	client := overSocket(socket)
	client.Timeout = 15 * time.Second
	response, err := client.Do(r)
	if err != nil {
		return t, fmt.Errorf("no control plane answers at %s: %w; is it running, with the same --state?", socket, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return t, fmt.Errorf("the control plane answers %s: %s", response.Status, strings.TrimSpace(string(said)))
	}
	return t, json.NewDecoder(response.Body).Decode(&t)
}

func runGraph(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("graph", stderr)
	socket, window := trafficFlags(f)
	output := f.String("o", "text", "text, dot, json or mermaid")
	if _, err := parse(f, args); err != nil {
		return err
	}
	t, err := askTraffic(ctx, *socket, *window)
	if err != nil {
		return err
	}
	drawn, err := show.Graph(t.Edges, *output)
	if err != nil {
		return err
	}
	tellMissing(stderr, t)
	_, err = io.WriteString(stdout, drawn)
	return err
}

func runTop(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("top", stderr)
	socket, window := trafficFlags(f)
	edges := f.Bool("edges", false, "who called whom instead of workloads")
	by := f.String("sort", "rps", "name, success, rps, p50, p90 or p99")
	every := f.Duration("every", 2*time.Second, "time between two looks, in a terminal")
	once := f.Bool("once", false, "look once")
	if _, err := parse(f, args); err != nil {
		return err
	}
	_, terminal := demo.Width(stdout)
	for {
		t, err := askTraffic(ctx, *socket, *window)
		if err != nil {
			return err
		}
		rows := t.Workloads
		if *edges {
			rows = t.Edges
		}
		if err := show.Sort(rows, *by); err != nil {
			return err
		}
		if terminal && !*once {
			_, _ = io.WriteString(stdout, "\x1b[H\x1b[J") // to the top, and clear what was there
		}
		if _, err := io.WriteString(stdout, show.Table(rows)); err != nil {
			return err
		}
		tellMissing(stderr, t)
		if *once || !terminal {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(*every, 100*time.Millisecond)):
		}
	}
}

// tellMissing names the first of those that are missing.
func tellMissing(w io.Writer, t controlplane.Traffic) {
	const most = 5
	for i, m := range t.Missing {
		if i == most {
			fmt.Fprintf(w, "and %d more\n", len(t.Missing)-most)
			return
		}
		fmt.Fprintf(w, "partial: %s\n", show.Plain(m))
	}
}
