package v1alpha1

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WasmFilter attaches a module to workloads of its namespace: each request that
// their sidecars accept passes it before the policy judges what it has left.
type WasmFilter struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              WasmFilterSpec `json:"spec"`
}

// WasmFilterSpec says where a filter stands and what it is.
type WasmFilterSpec struct {
	Selector WorkloadSelector `json:"selector"`
	Module   WasmModule       `json:"module"`
	// Config is what the module is configured with: text is given to it as it is,
	// everything else as JSON.
	Config json.RawMessage `json:"config,omitempty"`
	// Order decides between filters of one workload: the lowest is first, then the
	// name decides.
	Order int32 `json:"order,omitempty"`
	// OnFailure says what becomes of requests while the filter cannot run: Deny
	// (default) or Pass.
	OnFailure string `json:"onFailure,omitempty"`
	// Direction is inbound: there is no other yet.
	Direction string `json:"direction,omitempty"`
}

// WorkloadSelector selects workloads by all that it names, which is one thing at
// least.
type WorkloadSelector struct {
	MatchLabels    map[string]string `json:"matchLabels,omitempty"`
	ServiceAccount string            `json:"serviceAccount,omitempty"`
}

// WasmModule names a module so that nobody can change it afterwards. One of the
// two is needed; with both, the image must hold that module.
type WasmModule struct {
	// Image is in a registry, host/repository@sha256:..., or an OCI layout,
	// oci:folder@sha256:..., with the digest of its manifest. A relative folder is
	// looked for beside the manifests.
	Image string `json:"image,omitempty"`
	// SHA256 is the digest of the module itself, in hexadecimal.
	SHA256 string `json:"sha256,omitempty"`
}
