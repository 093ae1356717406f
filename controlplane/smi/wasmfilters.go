package smi

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	// maxFilters bounds what one sidecar compiles: a module of standard Go takes
	// tens of megabytes in it.
	maxFilters = 8
	// maxFilterConfig bounds what is sent to each sidecar, in bytes.
	maxFilterConfig = 256 << 10
)

// placed is a filter and where it stands among others.
type placed struct {
	mesh.Filter
	order int32
}

// filters attaches WasmFilters to the instances they select, in their order.
func (r *resolver) filters(instances []instance) {
	attached := make([][]placed, len(instances))
	for _, f := range r.objects.WasmFilters {
		o := mesh.Object{Kind: KindWasmFilter, Name: nameOf(f)}
		p := r.wasmFilter(o, f)
		for _, i := range r.behind(o, f, instances) {
			if len(attached[i]) == maxFilters {
				r.broken(o, "spec.selector", fmt.Sprintf("Workload %s already has %d filters, the most there can be.", instances[i].Name, maxFilters),
					"Select other workloads, or remove a filter.")
				continue
			}
			attached[i] = append(attached[i], p)
		}
	}
	for i := range instances {
		slices.SortFunc(attached[i], func(a, b placed) int {
			return cmp.Or(cmp.Compare(a.order, b.order), a.Name.Compare(b.Name))
		})
		for _, p := range attached[i] {
			instances[i].Filters = append(instances[i].Filters, p.Filter)
		}
	}
}

// wasmFilter reads one WasmFilter. One that is not fine does not run: its module
// stays empty, and what is said about failures holds. What says nothing clear
// about failures denies.
func (r *resolver) wasmFilter(o mesh.Object, f *v1alpha1.WasmFilter) placed {
	before := r.breaks
	p := placed{Filter: mesh.Filter{Name: o.Name}, order: f.Spec.Order}
	switch f.Spec.OnFailure {
	case "", "Deny":
	case "Pass":
		p.Pass = true
	default:
		r.broken(o, "spec.onFailure", fmt.Sprintf("%q is not known.", f.Spec.OnFailure), "Use Deny or Pass.")
	}
	if d := f.Spec.Direction; d != "" && d != "inbound" {
		r.broken(o, "spec.direction", fmt.Sprintf("a filter cannot be attached %q.", d), "Use inbound, or leave it out.")
	}
	r.pinned(o, f.Spec.Module)
	configuration := r.filterConfig(o, f.Spec.Config)
	if r.breaks == before {
		p.Image, p.Module, p.Configuration = f.Spec.Module.Image, f.Spec.Module.SHA256, configuration
	}
	return p
}

// pinned reports a module that somebody could exchange behind our back.
func (r *resolver) pinned(o mesh.Object, m v1alpha1.WasmModule) {
	_, digest, _ := strings.Cut(m.Image, "@sha256:")
	switch {
	case m.Image == "" && m.SHA256 == "":
		r.broken(o, "spec.module", "it names no module.", "Give an image with its digest, or the sha256 of a module.")
	case m.Image != "" && !isSHA256(digest):
		r.broken(o, "spec.module.image", fmt.Sprintf("image %q is not named by its digest, so that others could change what runs.", m.Image),
			"Write it like registry.example.com/filters/quota@sha256:..., as `wasmesh module push` prints it.")
	case m.SHA256 != "" && !isSHA256(m.SHA256):
		r.broken(o, "spec.module.sha256", fmt.Sprintf("%q is not a sha256.", m.SHA256), "Write 64 hexadecimal digits in lower case.")
	}
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && s == strings.ToLower(s)
}

// filterConfig is what the module is given: a text without its quotes, anything
// else as compact JSON.
func (r *resolver) filterConfig(o mesh.Object, raw json.RawMessage) string {
	if len(raw) > maxFilterConfig {
		r.broken(o, "spec.config", fmt.Sprintf("the configuration has %d bytes; %d is the most.", len(raw), maxFilterConfig), "Make it shorter.")
		return ""
	}
	var text string
	if len(raw) == 0 || json.Unmarshal(raw, &text) == nil {
		return text
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		r.broken(o, "spec.config", "the configuration is neither text nor JSON: "+err.Error()+".", "Check it.")
	}
	return b.String()
}

// behind returns the indices of the instances that a filter stands in front
// of: workloads of its own namespace only.
func (r *resolver) behind(o mesh.Object, f *v1alpha1.WasmFilter, instances []instance) []int {
	s := f.Spec.Selector
	if len(s.MatchLabels) == 0 && s.ServiceAccount == "" {
		r.broken(o, "spec.selector", "it selects nothing by name, which would be every workload of the namespace.", "Name labels or a service account.")
		return nil
	}
	var out []int
	wanted, opaque := labels.SelectorFromSet(s.MatchLabels), true
	for i, candidate := range instances {
		if candidate.Name.Namespace != f.Namespace || s.ServiceAccount != "" && candidate.ServiceAccount.Name != s.ServiceAccount {
			continue
		}
		if !wanted.Matches(labels.Set(candidate.labels)) {
			continue
		}
		out = append(out, i)
		opaque = opaque && !slices.ContainsFunc(candidate.Ports, func(p mesh.WorkloadPort) bool { return !p.Protocol.Opaque() })
	}
	switch {
	case len(out) == 0:
		r.inert(o, "spec.selector", "it selects no workload of namespace "+f.Namespace+".", "Compare it with the labels and service accounts of the Workloads.")
	case opaque:
		r.inert(o, "spec.selector", "no workload that it selects has an HTTP port, and a filter sees requests only.", "Check the ports' protocols.")
	}
	return out
}
