package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// module is what `go build` makes of this folder: the tests run what is shipped.
var module *wasmtest.Module

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "plans-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "plans.wasm")
	if err := wasmtest.Build(ctx, ".", file); err != nil {
		return 1, err
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		return 1, err
	}
	if module, err = wasmtest.Compile(ctx, wasm); err != nil {
		return 1, err
	}
	defer module.Close(ctx)
	return m.Run(), nil
}

func start(t *testing.T, configuration string) (*wasmtest.Plugin, error) {
	t.Helper()
	p, err := module.StartPlugin(t.Context(), wasmtest.Options{}, wasmtest.PluginConfig{Name: "plans", Configuration: []byte(configuration)})
	if err == nil {
		t.Cleanup(func() { _ = p.VM().Close(context.Background()) })
	}
	return p, err
}

func TestPlans(t *testing.T) {
	p, err := start(t, "acme gold\n\n  basement free\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		headers []string
		plan    string // empty: 400
	}{
		"a tenant":           {[]string{"x-tenant", "acme"}, "gold"},
		"another":            {[]string{"x-tenant", "basement"}, "free"},
		"one that boasts":    {[]string{"x-tenant", "basement", "x-plan", "gold", "x-plan", "gold"}, "free"},
		"nobody":             {nil, ""},
		"nobody, but a plan": {[]string{"x-plan", "gold"}, ""},
		"an unknown one":     {[]string{"x-tenant", "acne"}, ""},
		"two":                {[]string{"x-tenant", "acme", "x-tenant", "basement"}, ""},
	} {
		s := p.HTTP(wasmtest.StreamInfo{})
		r := s.RequestHeaders(t.Context(), wasmtest.Pairs(append([]string{":method", "GET", ":path", "/"}, c.headers...)...), true)
		if c.plan == "" {
			if r.Reply == nil || r.Reply.Status != 400 {
				t.Errorf("%s: got %+v, want 400", name, r)
			}
			continue
		}
		var plans []string
		for _, h := range s.Upstream().Headers {
			if h.Name == "x-plan" {
				plans = append(plans, h.Value)
			}
		}
		if r.Action != wasmtest.Continue || !slices.Equal(plans, []string{c.plan}) {
			t.Errorf("%s: got %+v with plans %q, want %q", name, r, plans, c.plan)
		}
	}
}

func TestConfigurationsThatSayNothing(t *testing.T) {
	for text, want := range map[string]string{
		"": "names no tenant", "acme": "is not a tenant and its plan", "acme gold plus": "is not a tenant",
		"acme gold\nacme free": "acme has two plans",
	} {
		if _, err := start(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
