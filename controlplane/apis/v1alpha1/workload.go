// Package v1alpha1 holds the project's own manifest kinds, group wasmesh.io.
//
// They are wire types only. SMI kinds are never redefined here: those stay
// exactly SMI's.
package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// APIVersion is what a manifest of these kinds carries as apiVersion.
const APIVersion = "wasmesh.io/v1alpha1"

// Workload is one instance of an application outside Kubernetes (a VM, or a
// process on a laptop) with a sidecar beside it.
type Workload struct {
	metav1.TypeMeta `json:",inline"`
	// Labels are what Service selectors match.
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              WorkloadSpec `json:"spec"`
}

// WorkloadSpec says where a workload is and who it is.
type WorkloadSpec struct {
	// ServiceAccount of the same namespace: the workload's identity.
	ServiceAccount string `json:"serviceAccount"`
	// Address is where this workload's sidecar accepts connections from other
	// sidecars: an IP address of the machine.
	Address string `json:"address"`
	// Application is the IP address at which the sidecar finds the application;
	// 127.0.0.1 if empty. It must differ from Address, as both use the same ports.
	Application string `json:"application,omitempty"`
	// Loopback is the /16 network inside 127.0.0.0/8 in which the application
	// dials services; 127.127.0.0/16 if empty. Only machines that run more than
	// one sidecar have to set it.
	Loopback string `json:"loopback,omitempty"`
	// Ports the application listens on. None for a pure client.
	Ports []WorkloadPort `json:"ports,omitempty"`
}

// WorkloadPort is one port the application listens on.
type WorkloadPort struct {
	Name string `json:"name,omitempty"`
	Port int32  `json:"port"`
	// AppProtocol is http (default), http2, grpc or tcp.
	AppProtocol string `json:"appProtocol,omitempty"`
}
