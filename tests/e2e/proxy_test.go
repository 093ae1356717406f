package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/injector/sidecar"
	corev1 "k8s.io/api/core/v1"
)

// proxyStats are an Envoy's counters and gauges whose names match, asked at the
// admin socket in the sidecar's volume.
func proxyStats(ctx context.Context, p corev1.Pod, match string) (map[string]uint64, error) {
	socket := filepath.Join(node(&p).Folder, string(p.UID), "volumes/volume/wasmesh-run/run", sidecar.AdminSocket)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := sidecar.Admin{Socket: socket}.Get(ctx, "/stats?filter="+match)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	stats := map[string]uint64{}
	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			stats[name] = n
		}
	}
	return stats, nil
}

// meshed are the pods of the bookstore, each with an Envoy.
func meshed(t *testing.T) []corev1.Pod {
	t.Helper()
	var all []corev1.Pod
	for app, count := range map[string]int{"bookbuyer": 1, "bookthief": 1, "bookwarehouse": 1, "bookstore": 2} {
		all = append(all, ready(t, app, app, count)...)
	}
	return all
}
