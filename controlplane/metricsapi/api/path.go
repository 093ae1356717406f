package api

import (
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
)

const groupVersion = metricsapi.Group + "/" + metricsapi.Version

// place is what a path names: either a document of discovery, or something with
// metrics.
type place struct {
	discovery any
	kind      metricsapi.Kind
	// namespace is empty for all, name for a list.
	namespace, name string
	edges           bool
}

// parsePath reads a path as the API server has read it when it asked whether the
// caller may get that: by its decoded segments. What the two could read
// differently, such as an empty segment, is no path here.
func parsePath(path string) (place, error) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." {
			return place{}, unknownPath(path)
		}
	}
	if parts[0] != "apis" || len(parts) > 1 && parts[1] != metricsapi.Group || len(parts) > 2 && parts[2] != metricsapi.Version {
		return place{}, unknownPath(path)
	}
	switch len(parts) {
	case 1:
		return place{discovery: groupList()}, nil
	case 2:
		return place{discovery: group()}, nil
	case 3:
		return place{discovery: resourceList()}, nil
	}
	return parseResource(path, parts[3:])
}

// parseResource reads what follows the version.
func parseResource(path string, parts []string) (place, error) {
	var p place
	// Below a namespace stands another kind, or the namespace itself is meant.
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "edges" {
		p.namespace, parts = parts[1], parts[2:]
	}
	var known bool
	if p.kind, known = metricsapi.KindOf(parts[0]); !known || p.namespace != "" && !p.kind.Namespaced {
		return place{}, unknownKind(parts[0])
	}
	if len(parts) > 1 {
		p.name = parts[1]
		if p.kind.Namespaced && p.namespace == "" {
			return place{}, unknownPath(path)
		}
	}
	if len(parts) > 2 {
		p.edges = true
		if parts[2] != "edges" || p.kind.Name == metricsapi.KindSplit {
			return place{}, unknownPath(path)
		}
	}
	if len(parts) > 3 {
		return place{}, unknownPath(path)
	}
	return p, nil
}

func unknownPath(path string) error {
	e := apierrors.NewGenericServerResponse(http.StatusNotFound, "GET", schema.GroupResource{Group: metricsapi.Group}, "", "", 0, false)
	e.ErrStatus.Message = "there is nothing at " + clip(path)
	return e
}

func unknownKind(resource string) error {
	var names []string
	for _, k := range metricsapi.Kinds() {
		names = append(names, k.Resource)
	}
	e := apierrors.NewGenericServerResponse(http.StatusNotFound, "GET", schema.GroupResource{Group: metricsapi.Group, Resource: clip(resource)}, "", "", 0, false)
	e.ErrStatus.Message = "there are no metrics of " + clip(resource) + "; there are of " + strings.Join(names, ", ")
	return e
}

// clip bounds what a stranger's text takes in an answer.
func clip(text string) string {
	const longest = 200
	text = strings.ToValidUTF8(text, "?")
	if len(text) > longest {
		return strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return text
}

func groupList() metav1.APIGroupList {
	return metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{group()}}
}

func group() metav1.APIGroup {
	version := metav1.GroupVersionForDiscovery{GroupVersion: groupVersion, Version: metricsapi.Version}
	return metav1.APIGroup{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: metricsapi.Group,
		Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
	}
}

// resourceList names all kinds, every one as TrafficMetrics (smi-rules 82). For kubectl
// get, a kind stands for one resource, that which comes last: deployments.
func resourceList() metav1.APIResourceList {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: groupVersion}
	for _, k := range slices.Backward(metricsapi.Kinds()) {
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: k.Resource, SingularName: strings.ToLower(k.Name), Namespaced: k.Namespaced, Kind: "TrafficMetrics", Verbs: metav1.Verbs{"get", "list"},
		})
	}
	return list
}
