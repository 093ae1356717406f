package api

import (
	"fmt"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
)

// maxSelector is the longest selector that is read, in bytes.
const maxSelector = 4096

// parameters are those of a query.
type parameters struct {
	window time.Duration
	labels labels.Selector
	fields fields.Selector
}

// readParameters reads a query. What clients of Kubernetes send with every list,
// such as limit, is passed over: an answer is always whole.
func readParameters(q url.Values) (p parameters, err error) {
	if watch := q.Get("watch"); watch != "" && watch != "false" && watch != "0" {
		return p, apierrors.NewMethodNotSupported(schema.GroupResource{Group: metricsapi.Group}, "watch")
	}
	p.window = DefaultWindow
	if text := q.Get("t"); q.Has("t") {
		p.window, err = time.ParseDuration(text)
		if err != nil || p.window <= 0 {
			return p, apierrors.NewBadRequest(fmt.Sprintf("t=%s is no window of time; write one like 30s or 5m", clip(text)))
		}
	}
	if n := max(len(q.Get("labelSelector")), len(q.Get("fieldSelector"))); n > maxSelector {
		return p, apierrors.NewBadRequest(fmt.Sprintf("a selector has %d bytes, and %d are read", n, maxSelector))
	}
	if p.labels, err = labels.Parse(q.Get("labelSelector")); err != nil {
		return p, apierrors.NewBadRequest("labelSelector: " + clip(err.Error()))
	}
	if p.fields, err = fields.ParseSelector(q.Get("fieldSelector")); err != nil {
		return p, apierrors.NewBadRequest("fieldSelector: " + clip(err.Error()))
	}
	for _, r := range p.fields.Requirements() {
		if r.Field != "metadata.name" && r.Field != "metadata.namespace" {
			return p, apierrors.NewBadRequest("fieldSelector: " + clip(r.Field) + " is unknown; metadata.name and metadata.namespace are not")
		}
	}
	return p, nil
}

// choose leaves the objects that the selectors mean (smi-rules 84).
func (p parameters) choose(all []metricsapi.Object) (out []metricsapi.Object) {
	for _, o := range all {
		names := fields.Set{"metadata.name": o.Name.Name, "metadata.namespace": o.Name.Namespace}
		if p.labels.Matches(labels.Set(o.Labels)) && p.fields.Matches(names) {
			out = append(out, o)
		}
	}
	return out
}
