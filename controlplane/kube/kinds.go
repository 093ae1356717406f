package kube

import (
	"context"
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/kube/trim"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/wire"
)

// kindEndpointSlice is the one kind that nobody writes by hand.
const kindEndpointSlice = "EndpointSlice"

// feed says how one kind comes here.
type feed struct {
	kind string
	// group and resource name it in the API. versions are those that can be read,
	// the best first; of a built-in kind there is one, and it is always there.
	group, resource string
	versions        []string
	custom          bool
	// watch returns how to list and watch a version.
	watch func(c Clients, version string) *cache.ListWatch
	// expected is an object of the type that comes, nil for any.
	expected any
	slim     func(any) any
	take     func(any) item
}

// hasStatus says whether the kind is ours, with a status that tells what became
// of an object. Others get events.
func (f feed) hasStatus() bool { return strings.HasPrefix(v1alpha1.APIVersion, f.group+"/") }

// feeds are all kinds that a mesh on Kubernetes is made of.
func feeds() []feed {
	out := []feed{
		builtIn(smi.KindService, "", "services", "v1", new(corev1.Service), func(c Clients) *cache.ListWatch {
			return typed(c.Typed.CoreV1().Services("").List, c.Typed.CoreV1().Services("").Watch, "")
		}, func(o any) wire.Object { return trim.Service(o.(*corev1.Service)) }),
		builtIn(smi.KindPod, "", "pods", "v1", new(corev1.Pod), func(c Clients) *cache.ListWatch {
			return typed(c.Typed.CoreV1().Pods("").List, c.Typed.CoreV1().Pods("").Watch, smi.SidecarLabel+"="+smi.SidecarInjected)
		}, func(o any) wire.Object { return trim.Pod(o.(*corev1.Pod)) }),
		builtIn(kindEndpointSlice, "discovery.k8s.io", "endpointslices", "v1", new(discoveryv1.EndpointSlice), func(c Clients) *cache.ListWatch {
			slices := c.Typed.DiscoveryV1().EndpointSlices("")
			return typed(slices.List, slices.Watch, "")
		}, func(o any) wire.Object { return trim.EndpointSlice(o.(*discoveryv1.EndpointSlice)) }),
		metadataOnly(smi.KindServiceAccount, "serviceaccounts", func(o metav1.Object) wire.Object { return trim.Account(o) }),
		metadataOnly(smi.KindNamespace, "namespaces", func(o metav1.Object) wire.Object { return trim.Namespace(o) }),
	}
	for _, k := range wire.Kinds() {
		if k.Group != "" {
			out = append(out, custom(k))
		}
	}
	return out
}

// typed lists and watches in all namespaces what a label selects.
func typed[L runtime.Object](
	list func(context.Context, metav1.ListOptions) (L, error),
	watching func(context.Context, metav1.ListOptions) (watch.Interface, error), selector string,
) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			return list(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector
			return watching(ctx, o)
		},
	}
}

func builtIn(kind, group, resource, version string, expected any, lw func(Clients) *cache.ListWatch, cut func(any) wire.Object) feed {
	return feed{
		kind: kind, group: group, resource: resource, versions: []string{version}, expected: expected,
		watch: func(c Clients, _ string) *cache.ListWatch { return lw(c) },
		slim:  func(o any) any { return cut(o) },
		take: func(o any) item {
			value := cut(o)
			return item{value: value, uid: value.GetUID()}
		},
	}
}

// metadataOnly is a kind of which nothing but metadata is asked for.
func metadataOnly(kind, resource string, cut func(metav1.Object) wire.Object) feed {
	return feed{
		kind: kind, resource: resource, versions: []string{"v1"}, expected: new(metav1.PartialObjectMetadata),
		watch: func(c Clients, version string) *cache.ListWatch {
			client := c.Metadata.Resource(groupVersion("", version).WithResource(resource))
			return typed(client.List, client.Watch, "")
		},
		slim: func(o any) any {
			return &metav1.PartialObjectMetadata{ObjectMeta: trim.Meta(o.(*metav1.PartialObjectMetadata))}
		},
		take: func(o any) item {
			value := cut(o.(*metav1.PartialObjectMetadata))
			return item{value: value, uid: value.GetUID()}
		},
	}
}

// custom is a kind of a CustomResourceDefinition, decoded object by object.
func custom(k wire.Kind) feed {
	return feed{
		kind: k.Name, group: k.Group, resource: k.Resource, versions: k.Stored(), custom: true,
		watch: func(c Clients, version string) *cache.ListWatch {
			client := c.Dynamic.Resource(groupVersion(k.Group, version).WithResource(k.Resource))
			return typed(client.List, client.Watch, "")
		},
		slim: slimFields,
		take: func(o any) item { return decoded(o.(*unstructured.Unstructured)) },
	}
}

// slimFields drops who manages which field, the larger half of many objects.
func slimFields(o any) any {
	u := o.(*unstructured.Unstructured)
	u.SetManagedFields(nil)
	return u
}

// decoded reads an object of any custom kind.
func decoded(u *unstructured.Unstructured) item {
	out := item{uid: u.GetUID(), generation: u.GetGeneration(), conditions: conditionsOf(u.Object)}
	_, value, problems := wire.Decode(trim.Fields(u.Object))
	out.value, out.problems = value, problems
	return out
}

// conditionsOf reads the conditions that an object carries; none if they are not
// in their proper form, so that they are written anew.
func conditionsOf(object map[string]any) []metav1.Condition {
	list, found, err := unstructured.NestedSlice(object, "status", "conditions")
	if err != nil || !found {
		return nil
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil
	}
	var out []metav1.Condition
	if json.Unmarshal(text, &out) != nil {
		return nil
	}
	return out
}
