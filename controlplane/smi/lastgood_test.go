package smi_test

import (
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// step reads manifests as a running control plane does: what is broken stays as
// it last worked.
func step(t *testing.T, last smi.Objects, manifests string) smi.Objects {
	t.Helper()
	next := objects(t, manifests)
	_, problems := smi.Snapshot(next, settings)
	return smi.LastGood(last, next, problems)
}

func TestLastGood(t *testing.T) {
	good := shop + group("{name: a, pathRegex: /a$}")
	bad := strings.Replace(good, "/a$", "/a(", 1)
	other := strings.Replace(good, "namespace: people}]", "namespace: people}, {kind: ServiceAccount, name: thief, namespace: people}]", 1)

	t.Run("an object that was never good is left out", func(t *testing.T) {
		if o := step(t, smi.Objects{}, bad); len(o.HTTPRouteGroups) != 1 || o.HTTPRouteGroups[0].Name != "books" {
			t.Errorf("got %v", o.HTTPRouteGroups)
		}
	})
	t.Run("a broken object stays as it was, the rest applies", func(t *testing.T) {
		last := step(t, smi.Objects{}, good)
		kept := step(t, last, strings.Replace(other, "/a$", "/a(", 1))
		snapshot, problems := smi.Snapshot(kept, settings)
		wantProblems(t, problems)
		decide(t, snapshot, map[string]string{"people/reader 1 GET /a": "store/t", "people/thief 1 GET /a": "store/t", "people/thief 1 GET /b": "path"})
		again := step(t, kept, bad)
		snapshot, _ = smi.Snapshot(again, settings)
		decide(t, snapshot, map[string]string{"people/reader 1 GET /a": "store/t", "people/thief 1 GET /a": "source"})
	})
	t.Run("a deleted object is gone", func(t *testing.T) {
		last := step(t, smi.Objects{}, good)
		if o := step(t, last, shop); len(o.HTTPRouteGroups) != 1 || len(o.TrafficTargets) != 0 {
			t.Errorf("got %v, %v", o.HTTPRouteGroups, o.TrafficTargets)
		}
	})
	t.Run("what lost its service account is not kept alive", func(t *testing.T) {
		last := step(t, smi.Objects{}, shop+workload("web1", 1, webPort))
		kept := step(t, last, strings.Replace(shop, "name: store}", "name: stores}", 1)+workload("web1", 1, webPort))
		if snapshot, _ := smi.Snapshot(kept, settings); len(snapshot.Workloads) != 0 {
			t.Errorf("got %v", snapshot.Workloads)
		}
	})
	t.Run("inert objects are not put back", func(t *testing.T) {
		last := step(t, smi.Objects{}, good)
		kept := step(t, last, strings.Replace(good, "name: g}]", "name: gone}]", 1))
		snapshot, _ := smi.Snapshot(kept, settings)
		decide(t, snapshot, map[string]string{"people/reader 1 GET /a": "policy"})
	})
}
