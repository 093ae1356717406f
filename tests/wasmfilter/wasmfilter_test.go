package wasmfilter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

const (
	acme  = "acme gold\nbasement free"
	equal = "acme gold\nbasement gold"
)

// TestWasmFilter is the life of a filter: attached, edited, exchanged, broken in
// every way and mended, joined by a second one, and removed.
func TestWasmFilter(t *testing.T) {
	s := openShop(t)
	s.always(answer{200, "[]"}, reports, "/summary")
	s.always(answer{403, ""}, reports, "/premium")
	s.always(answer{200, `["gold"]`}, reports, "/premium", "x-plan", "gold")

	image := s.push(s.registry+"/filters/plans:1", s.wasm)
	s.attach(func() { s.write("filter.yaml", manifest("plans", image, acme, "")) })
	s.answers(answer{400, ""}, reports, "/summary")
	s.noProblems()
	s.filtered()
	s.policyJudgesWhatTheFilterLeft()

	// A live edit moves no module and closes nothing.
	end := s.load()
	s.write("filter.yaml", manifest("plans", image, equal, ""))
	s.answers(answer{200, `["gold"]`}, reports, "/premium", "x-tenant", "basement")
	s.write("filter.yaml", manifest("plans", image, acme, ""))
	s.answers(answer{403, ""}, reports, "/premium", "x-tenant", "basement")

	// Another version, from a layout folder.
	other := append(bytes.Clone(s.wasm), 0, 3, 1, 'x', 'y') // a custom section
	second := s.push("oci:"+filepath.Join(t.TempDir(), "layout")+":2", other)
	s.write("filter.yaml", manifest("plans", second, acme, ""))
	s.runs(store.Digest(other))
	s.filtered()
	s.write("filter.yaml", manifest("plans", image, acme, ""))
	s.runs(store.Digest(s.wasm))
	end()

	s.broken(image)
	s.ordered(image)
	s.unavailable()

	if err := os.Remove(filepath.Join(s.folder, "filter.yaml")); err != nil {
		t.Fatal(err)
	}
	s.answers(answer{200, "[]"}, reports, "/summary")
}

// attach asks all the time what passes with the filter and without it, until the
// filter that write attaches has answered. It is not the place of the filter that
// refuses anything before.
func (s *shop) attach(write func()) {
	s.t.Helper()
	without, with := answer{200, "[]"}, answer{200, `["gold"]`}
	end, asked := time.Now().Add(applyTimeout), 0
	for write(); ; asked++ {
		got, err := ask(s.t.Context(), reports, "/summary", "x-tenant", "acme")
		if err == nil && got == with {
			break
		}
		if err != nil || got != without || time.Now().After(end) {
			s.t.Fatalf("request %d after the filter was written: %+v, %v", asked, got, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if asked == 0 {
		s.t.Error("the filter ran before anything was asked")
	}
}

// filtered asserts that one service has the filter and the other has not.
func (s *shop) filtered() {
	s.t.Helper()
	s.always(answer{400, ""}, reports, "/summary")
	s.always(answer{200, `["gold"]`}, reports, "/summary", "x-tenant", "acme")
	s.always(answer{200, `["free"]`}, reports, "/summary", "x-tenant", "basement")
	s.always(answer{200, "[]"}, archive, "/summary")
	s.always(answer{200, `["gold"]`}, archive, "/premium", "x-plan", "gold")
}

// policyJudgesWhatTheFilterLeft: what the caller says of its plan counts for
// nothing, what the filter says does.
func (s *shop) policyJudgesWhatTheFilterLeft() {
	s.t.Helper()
	s.always(answer{200, `["gold"]`}, reports, "/premium", "x-tenant", "acme")
	s.always(answer{403, ""}, reports, "/premium", "x-tenant", "basement", "x-plan", "gold")
	s.always(answer{403, ""}, reports, "/none", "x-tenant", "acme")
}

// load sends requests that must all pass, until the returned function is
// called.
func (s *shop) load() (end func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var sent atomic.Int32
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			got, err := ask(context.WithoutCancel(ctx), reports, "/premium", "x-tenant", "acme")
			if err != nil || got != (answer{200, `["gold"]`}) {
				ended <- fmt.Errorf("request %d under edits: %+v, %v", sent.Load(), got, err)
				return
			}
			sent.Add(1)
			time.Sleep(20 * time.Millisecond)
		}
		ended <- nil
	}()
	return func() {
		s.t.Helper()
		cancel()
		if err := <-ended; err != nil || sent.Load() < 20 {
			s.t.Errorf("%v after %d requests", err, sent.Load())
		}
	}
}

// runs waits until the sidecar of reports runs a module.
func (s *shop) runs(digest string) {
	s.t.Helper()
	s.must("module "+digest[:12], func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		if got := status.Filters["shop/plans"]; got != digest {
			return fmt.Errorf("the control plane has %.12s", got)
		}
		dump, err := s.Admin(reports).Get(ctx, "/config_dump?resource=ecds_filters")
		if err == nil && !strings.Contains(string(dump), digest) {
			err = errors.New("envoy does not have it")
		}
		return err
	})
}

// broken breaks the filter in every way, each with its cause and place told and
// with what ran before still running, and mends it.
func (s *shop) broken(image string) {
	s.t.Helper()
	repository, _, _ := strings.Cut(image, "@")
	garbage := s.pushGarbage()
	for cause, text := range map[string]string{
		"is not named by its digest":             manifest("plans", repository+":1", acme, ""),
		"not found":                              manifest("plans", repository+"@sha256:"+strings.Repeat("0", 64), acme, ""),
		"not a wasm binary":                      manifest("plans", garbage, acme, ""),
		"it names no module":                     strings.Replace(manifest("plans", image, acme, ""), "image: "+image, `image: ""`, 1),
		"the configuration names no tenant":      manifest("plans", image, "", ""),
		`"Perhaps" is not known`:                 manifest("plans", image, acme, "  onFailure: Perhaps\n"),
		"it selects nothing by name":             strings.Replace(manifest("plans", image, acme, ""), "{serviceAccount: reports}", "{}", 1),
		"cannot be attached \"outbound\"":        manifest("plans", image, acme, "  direction: outbound\n"),
		"has the sha256 " + store.Digest(s.wasm): strings.Replace(manifest("plans", image, acme, ""), "  config:", "    sha256: "+strings.Repeat("1a", 32)+"\n  config:", 1),
	} {
		s.write("filter.yaml", text)
		s.problem("filter.yaml:", "WasmFilter shop/plans", cause)
		s.filtered()
		s.write("filter.yaml", manifest("plans", image, acme, ""))
		s.noProblems()
		s.filtered()
	}
}

// pushGarbage pushes what our own push refuses, in a format that is read.
func (s *shop) pushGarbage() string {
	s.t.Helper()
	r, err := name.ParseReference(s.registry+"/filters/garbage:1", name.Insecure)
	if err != nil {
		s.t.Fatal(err)
	}
	i, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		mutate.Addendum{Layer: static.NewLayer([]byte("garbage"), "application/wasm")})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := remote.Write(r, i); err != nil {
		s.t.Fatal(err)
	}
	d, err := i.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.registry + "/filters/garbage@" + d.String()
}

// ordered attaches a second filter: the later one has the last word.
func (s *shop) ordered(image string) {
	s.t.Helper()
	s.write("second.yaml", manifest("second", image, "acme silver", "  order: 1\n"))
	s.answers(answer{200, `["silver"]`}, reports, "/summary", "x-tenant", "acme")
	s.write("second.yaml", manifest("second", image, "acme silver", "  order: -1\n"))
	s.answers(answer{200, `["gold"]`}, reports, "/summary", "x-tenant", "acme")
	// The first still asks for a tenant that it knows.
	s.answers(answer{400, ""}, reports, "/summary", "x-tenant", "basement")
}

// unavailable attaches a filter that never was there: what it says about that
// holds.
func (s *shop) unavailable() {
	s.t.Helper()
	nowhere := s.registry + "/none@sha256:" + strings.Repeat("2", 64)
	if err := os.Remove(filepath.Join(s.folder, "second.yaml")); err != nil {
		s.t.Fatal(err)
	}
	s.answers(answer{200, `["free"]`}, reports, "/summary", "x-tenant", "basement")
	s.write("nowhere.yaml", manifest("nowhere", nowhere, "x", "  onFailure: Pass\n"))
	s.problem("nowhere.yaml:", "WasmFilter shop/nowhere", "requests pass without it")
	// The listener is replaced meanwhile: the place is new.
	s.must("the new place", func(ctx context.Context) error {
		dump, err := s.Admin(reports).Get(ctx, "/config_dump?resource=dynamic_listeners")
		if err == nil && (!strings.Contains(string(dump), "shop/nowhere") || strings.Contains(string(dump), "warming_state")) {
			err = errors.New("it is not there")
		}
		return err
	})
	s.answers(answer{200, `["gold"]`}, reports, "/premium", "x-tenant", "acme")
	s.answers(answer{403, ""}, reports, "/premium", "x-tenant", "basement")
	s.write("nowhere.yaml", manifest("nowhere", nowhere, "x", "  onFailure: Deny\n"))
	s.problem("nowhere.yaml:", "WasmFilter shop/nowhere", "requests are refused until it runs")
	s.answers(answer{403, ""}, reports, "/summary", "x-tenant", "acme")
	s.always(answer{200, "[]"}, archive, "/summary")
	if err := os.Remove(filepath.Join(s.folder, "nowhere.yaml")); err != nil {
		s.t.Fatal(err)
	}
	s.answers(answer{200, `["free"]`}, reports, "/summary", "x-tenant", "basement")
}

// The command pushes, pulls and inspects, and its exit code is the answer.
func TestModuleCommand(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wasm := buildFilter(t)
	good, bad := file("good.wasm", wasm), file("bad.wasm", wasm[:len(wasm)/2])
	config, wrong := file("config.txt", []byte("acme gold")), file("wrong.txt", []byte("acme"))
	layout, out := "oci:"+filepath.Join(dir, "layout")+":1", filepath.Join(dir, "out.wasm")
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"push", good, layout}, 0, "layout@sha256:"},
		{[]string{"push", good, layout, "-o", "json"}, 0, `"tag": "1"`},
		{[]string{"push", bad, layout}, 1, "truncated"},
		{[]string{"push", filepath.Join(dir, "none"), layout}, 2, "no such file"},
		{[]string{"push", good, "layout"}, 2, "registry.example.com"},
		{[]string{"pull", layout, "-o", out}, 0, store.Digest(wasm)},
		{[]string{"pull", layout}, 2, "-o"},
		{[]string{"pull", strings.TrimSuffix(layout, "1") + "2", "-o", out}, 2, "not found"},
		{[]string{"inspect", good, "--config", config}, 0, "starts   yes"},
		{[]string{"inspect", good, "--config", wrong}, 1, "is not a tenant and its plan"},
		{[]string{"inspect", layout, "-o", "json", "--config", config}, 0, `"starts": true`},
		{[]string{"inspect", bad}, 1, "truncated"},
		{[]string{"inspect", "none"}, 2, "there is no file none"},
		{[]string{"polish"}, 2, "pushed, pulled and inspected"},
	} {
		cmd := exec.CommandContext(t.Context(), programs.Wasmesh, append([]string{"module"}, c.args...)...)
		text, _ := cmd.CombinedOutput() // the exit code is looked at below
		if got := cmd.ProcessState.ExitCode(); got != c.code || !strings.Contains(string(text), c.text) {
			t.Errorf("%q: exit code %d, want %d with %q:\n%s", c.args, got, c.code, c.text, text)
		}
	}
	if pulled, err := os.ReadFile(out); err != nil || !bytes.Equal(pulled, wasm) {
		t.Errorf("what was pulled is not what was pushed: %v", err)
	}
}
