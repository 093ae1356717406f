package kube

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apply "k8s.io/client-go/applyconfigurations/meta/v1"
)

// ownerRole is the ClusterRole of the installation. What the control plane makes
// in other namespaces belongs to it, so that Kubernetes collects it when the mesh
// is uninstalled: only a cluster-wide object can own something in any namespace.
const ownerRole = "wasmesh-controlplane"

// owner finds the role once. Where there is none, or it may not be read, nothing
// is owned, and somebody has to tidy up by hand.
type owner struct {
	reference *apply.OwnerReferenceApplyConfiguration
}

func (o *owner) of(ctx context.Context, c Clients) *apply.OwnerReferenceApplyConfiguration {
	if o.reference == nil {
		role, err := c.Typed.RbacV1().ClusterRoles().Get(ctx, ownerRole, metav1.GetOptions{})
		if err != nil {
			return nil
		}
		o.reference = apply.OwnerReference().WithAPIVersion("rbac.authorization.k8s.io/v1").WithKind("ClusterRole").
			WithName(role.Name).WithUID(role.UID)
	}
	return o.reference
}
