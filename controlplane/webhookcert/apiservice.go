package webhookcert

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

func (k *Keeper) apiServices() dynamic.ResourceInterface {
	return k.options.Dynamic.Resource(schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"})
}

// ofAPIService is the bundle by which the API server knows the aggregated API; what
// cannot be read as one is none.
func (k *Keeper) ofAPIService(ctx context.Context) ([]byte, error) {
	found, err := k.apiServices().Get(ctx, k.name(), metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading APIService %s: %w", k.name(), err)
	}
	text, _, err := unstructured.NestedString(found.Object, "spec", "caBundle")
	if err != nil {
		return nil, nil
	}
	bundle, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, nil
	}
	return bundle, nil
}

func (k *Keeper) tellAPIService(ctx context.Context, there, bundle []byte) error {
	if bytes.Equal(there, bundle) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"caBundle": bundle}})
	if err != nil {
		return err
	}
	if _, err := k.apiServices().Patch(ctx, k.name(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("writing APIService %s: %w", k.name(), err)
	}
	return nil
}
