package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/wasmesh/wasmesh/filters/traffic"
)

const (
	listenersReceived = "listener_manager.lds.update_success"
	listenersWarming  = "listener_manager.total_listeners_warming"
	workersStarted    = "listener_manager.workers_started"
	// Either form of the filter that decides reports what it runs.
	requestPolicy    = "wasmcustom." + traffic.PolicyVersion
	connectionPolicy = "wasmcustom." + traffic.ConnectionPolicyVersion
)

// Ready reports whether the Envoy serves what it is meant to: it has received
// its listeners, all of them accept, and if any is inbound, the policy filter
// runs. Envoy's own /ready knows nothing of the filter, so it is not asked.
// If the answer is no, waiting says for what.
func (a Admin) Ready(ctx context.Context) (ready bool, waiting string, err error) {
	filter := "^(" + strings.ReplaceAll(strings.Join([]string{listenersReceived, listenersWarming, workersStarted, requestPolicy, connectionPolicy}, "|"), ".", `\.`) + ")"
	body, err := a.Get(ctx, "/stats?filter="+url.QueryEscape(filter))
	if err != nil {
		return false, "", err
	}
	stats := parseStats(string(body))
	if stats[listenersReceived] == 0 {
		return false, "the control plane's first configuration", nil
	}
	// Before that, Envoy counts listeners that wait for their filters as active.
	if stats[workersStarted] == 0 {
		return false, "envoy to begin accepting", nil
	}
	if n := stats[listenersWarming]; n > 0 {
		return false, fmt.Sprintf("%d listeners that are warming", n), nil
	}
	_, judgesRequests := stats[requestPolicy]
	_, judgesConnections := stats[connectionPolicy]
	if judgesRequests || judgesConnections {
		return true, "", nil
	}
	inbound, err := a.hasInbound(ctx)
	if err != nil || !inbound {
		return err == nil, "", err
	}
	return false, "the policy filter", nil
}

// parseStats reads lines of "name: number" and leaves others out.
func parseStats(text string) map[string]uint64 {
	stats := map[string]uint64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			stats[name] = n
		}
	}
	return stats
}

// hasInbound looks at the listeners themselves: the names say nothing that a
// control plane of another version could not write otherwise.
func (a Admin) hasInbound(ctx context.Context) (bool, error) {
	body, err := a.Get(ctx, "/config_dump?resource=dynamic_listeners")
	if err != nil {
		return false, err
	}
	var dump struct {
		Configs []struct {
			Active struct {
				Listener struct {
					Direction string `json:"traffic_direction"`
					// Redirected: it hands connections to others, and asks no filter itself.
					Redirected bool `json:"use_original_dst"`
				} `json:"listener"`
			} `json:"active_state"`
		} `json:"configs"`
	}
	if err := json.Unmarshal(body, &dump); err != nil {
		return false, fmt.Errorf("envoy's list of listeners: %w", err)
	}
	for _, c := range dump.Configs {
		if l := c.Active.Listener; l.Direction == "INBOUND" && !l.Redirected {
			return true, nil
		}
	}
	return false, nil
}
