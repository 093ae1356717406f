package webhookcert

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
)

// TestAPIService: its bundle becomes that of the Secret, whatever it was.
func TestAPIService(t *testing.T) {
	services := schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	for name, bundle := range map[string]any{"none": nil, "another": base64.StdEncoding.EncodeToString([]byte("old")), "no base64": "%", "no text": int64(1)} {
		object := map[string]any{"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": "v1.example"}, "spec": map[string]any{"group": "example"}}
		if bundle != nil {
			object["spec"].(map[string]any)["caBundle"] = bundle
		}
		dynamic := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{services: "APIServiceList"}, &unstructured.Unstructured{Object: object})
		typed := fake.NewClientset(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "tls"}})
		k, err := New(Options{Client: typed, Dynamic: dynamic, Namespace: "system", Secret: "tls", APIService: "v1.example", Hosts: hosts, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second finds nothing to do
			if err := k.once(context.Background()); err != nil || !k.Ready() {
				t.Fatalf("%s: %v", name, err)
			}
		}
		found, err := dynamic.Resource(services).Get(t.Context(), "v1.example", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		secret, err := typed.CoreV1().Secrets("system").Get(t.Context(), "tls", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		text, _, _ := unstructured.NestedString(found.Object, "spec", "caBundle")
		if got, err := base64.StdEncoding.DecodeString(text); err != nil || len(got) == 0 || !bytes.Equal(got, secret.Data[bundleKey]) {
			t.Errorf("%s: the bundle is %q", name, text)
		}
		if group, _, _ := unstructured.NestedString(found.Object, "spec", "group"); group != "example" {
			t.Errorf("%s: the rest is %v", name, found.Object)
		}
		patches := 0
		for _, a := range dynamic.Actions() {
			if a.GetVerb() == "patch" {
				patches++
			}
		}
		if patches != 1 {
			t.Errorf("%s: %d patches", name, patches)
		}
	}
}
