// Package kube is the source of objects for a mesh on Kubernetes, and the hand
// that writes back to it.
//
// It watches, keeps what it saw in the trimmed form that the snapshot takes, and
// signals when that changed; what the fields mean is package smi's affair. When
// the API server is away, what was known stays. One replica at a time, the
// holder of a Lease, writes what became of objects onto them. It must never show
// a part of a list for the whole, never take an object that it could not read
// for a deleted one, and never read a Secret.
package kube

import (
	"fmt"
	"log/slog"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options say which cluster, and who this replica is.
type Options struct {
	// Kubeconfig is a file; empty means the service account of this pod.
	Kubeconfig string
	// Namespace is where the control plane is.
	Namespace string
	// Replica tells this control plane from the others: the pod's name.
	Replica string
	Log     *slog.Logger
}

// Names that the parts of the mesh share.
const (
	// Lease is held by the replica that writes.
	Lease = "wasmesh-controlplane"
	// ClusterRole is the control plane's.
	ClusterRole = "wasmesh-controlplane"
	// RootsConfigMap holds the mesh's roots in every namespace that opted in.
	RootsConfigMap = "wasmesh-roots"
	// RootsKey is its key.
	RootsKey = "roots.pem"
	// fieldManager is whose fields ours are.
	fieldManager = "wasmesh-controlplane"
)

// Clients reach one API server.
type Clients struct {
	Typed kubernetes.Interface
	// Identity is Typed without a bound of its own: whoever joins must not wait for
	// what is written to objects, and package attest bounds what it asks.
	Identity  kubernetes.Interface
	Dynamic   dynamic.Interface
	Metadata  metadata.Interface
	Discovery discovery.DiscoveryInterface
}

// Connect makes the clients; it asks the server nothing yet.
func Connect(o Options) (Clients, error) {
	config, err := config(o.Kubeconfig)
	if err != nil {
		return Clients{}, err
	}
	// A dozen watches begin at once, and the leader writes; the default of 5 a
	// second would make a restart wait.
	config.QPS, config.Burst = 50, 100
	config.UserAgent = "wasmesh-controlplane"
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("kubernetes: %w", err)
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("kubernetes: %w", err)
	}
	binary := rest.CopyConfig(config)
	binary.ContentType = "application/vnd.kubernetes.protobuf"
	binary.AcceptContentTypes = binary.ContentType + ",application/json"
	typed, err := kubernetes.NewForConfig(binary)
	if err != nil {
		return Clients{}, fmt.Errorf("kubernetes: %w", err)
	}
	unbounded := rest.CopyConfig(binary)
	unbounded.QPS = -1
	identity, err := kubernetes.NewForConfig(unbounded)
	if err != nil {
		return Clients{}, fmt.Errorf("kubernetes: %w", err)
	}
	return Clients{typed, identity, dynamicClient, metadataClient, typed.Discovery()}, nil
}

func config(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		c, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("kubernetes: %w; outside of a pod give --kubeconfig", err)
		}
		return c, nil
	}
	c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubernetes: kubeconfig %s: %w", kubeconfig, err)
	}
	return c, nil
}

// groupVersion is the path of a version of a kind's group.
func groupVersion(group, version string) schema.GroupVersion {
	return schema.GroupVersion{Group: group, Version: version}
}
