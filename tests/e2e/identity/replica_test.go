package identity

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/wasmesh/wasmesh/controlplane/attest"
	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/ca/secret"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

const trustDomain = "mesh.test"

// journal is a log that a test reads.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// replica is what a replica of the control plane has to do with identity, with the
// permissions that it has in a cluster and no others.
type replica struct {
	authority *ca.Authority
	server    *serve.Server
	join, xds string
	log       *journal
}

// system is a namespace for control planes, with their role.
func system(t *testing.T) string {
	t.Helper()
	namespace := newNamespace(t)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	rule := func(group, resource string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	named := rule("", "secrets", "get", "update", "list", "watch")
	named.ResourceNames = []string{secret.Name}
	rbac := kube.Client.RbacV1()
	subject := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "wasmesh-controlplane"}}
	must(kube.Client.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secret.Name}}, metav1.CreateOptions{})) // as the chart does
	must(rbac.Roles(namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "ca"}, Rules: []rbacv1.PolicyRule{named}}, metav1.CreateOptions{}))
	must(rbac.RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "ca"}, Subjects: subject, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "ca"}}, metav1.CreateOptions{}))
	must(rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: namespace}, Rules: []rbacv1.PolicyRule{rule("authentication.k8s.io", "tokenreviews", "create"), rule("", "pods", "get")}}, metav1.CreateOptions{}))
	must(rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: namespace}, Subjects: subject, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: namespace}}, metav1.CreateOptions{}))
	return namespace
}

// clientOf is the control plane's own client.
func clientOf(t *testing.T, namespace string) *kubernetes.Clientset {
	t.Helper()
	config := rest.CopyConfig(kube.Config)
	config.QPS = -1
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + namespace + ":wasmesh-controlplane", Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// start runs a replica until the test ends.
func start(t *testing.T, namespace string) *replica {
	t.Helper()
	client := clientOf(t, namespace)
	store := secret.New(client, namespace)
	r := &replica{log: &journal{}}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	var err error
	r.authority, err = ca.Open(filepath.Join(t.TempDir(), "state"), ca.Options{TrustDomain: trustDomain, Roots: store, Attest: attest.New(client).Attest})
	if err != nil {
		t.Fatal(err)
	}
	join, xdsListener := listen(t), listen(t)
	r.join, r.xds = "https://"+join.Addr().String(), xdsListener.Addr().String()
	config, err := r.authority.MutualTLS([]string{"127.184.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	r.server = serve.New(log)
	ctx, cancel := context.WithCancel(context.Background())
	changed := make(chan struct{}, 1)
	var parts sync.WaitGroup
	parts.Go(func() { _ = r.server.Run(ctx) })
	parts.Go(func() { _ = r.server.Serve(ctx, xdsListener, config) })
	parts.Go(func() { store.Watch(ctx, changed) })
	parts.Go(func() { r.authority.Follow(ctx, changed, log) })
	parts.Go(func() {
		nobody := func(mesh.Name) (mesh.Name, bool) { return mesh.Name{}, false }
		if err := r.authority.Serve(ctx, join, []string{"127.184.0.1"}, nobody, log); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); parts.Wait() })
	return r
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.184.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// publish makes the pods of namespaces, as the API server has them, the mesh.
func (r *replica) publish(t *testing.T, namespaces ...string) {
	t.Helper()
	var objects smi.Objects
	for _, namespace := range namespaces {
		pods, err := kube.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range pods.Items {
			objects.Pods = append(objects.Pods, &pods.Items[i])
			objects.ServiceAccounts = append(objects.ServiceAccounts, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pods.Items[i].Spec.ServiceAccountName}})
		}
	}
	snapshot, _ := smi.Snapshot(objects, smi.Settings{TrustDomain: trustDomain, Kubernetes: true})
	if err := r.server.Publish(t.Context(), snapshot, xds.Settings{Module: "00", LeafLifetime: time.Hour}); err != nil {
		t.Fatal(err)
	}
}
