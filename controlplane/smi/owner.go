package smi

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/filters/identity"
)

// OwnerOf says of which workload a pod is an instance: the kind as Kubernetes spells
// it, and the name. The Deployment behind a ReplicaSet is found by the hash that
// the one adds to the name of the other, so that nobody has to be asked. What has
// none of the owners that metrics tell apart is a workload of its own, a Pod.
func OwnerOf(pod metav1.Object) (kind, name string) {
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil {
		return KindPod, pod.GetName()
	}
	switch owner.Kind {
	case "StatefulSet", "DaemonSet", "Job":
		return owner.Kind, owner.Name
	case "ReplicaSet":
		hash := pod.GetLabels()[appsv1.DefaultDeploymentUniqueLabelKey]
		if name, cut := strings.CutSuffix(owner.Name, "-"+hash); cut && hash != "" && name != "" {
			return "Deployment", name
		}
	}
	return KindPod, pod.GetName()
}

func ownerOf(pod metav1.Object) identity.Owner {
	kind, name := OwnerOf(pod)
	return identity.Owner{Kind: kind, Name: name}
}
