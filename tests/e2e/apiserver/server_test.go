// Package apiserver tests the control plane's source against a real
// kube-apiserver and etcd, without nodes or pods. It never runs without them.
package apiserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/cluster"
)

// address is where everything of these tests listens.
const address = "127.188.0.1"

// user is who the control plane is, so that its roles are tested too.
const user = "system:serviceaccount:wasmesh-system:wasmesh-controlplane"

// server is an etcd with an API server before it.
type server struct {
	t                        testing.TB
	dir                      string
	tools                    cluster.Tools
	etcdPort, peerPort, port int
	etcd, apiserver          *exec.Cmd
}

// start starts both and waits until the server answers.
func start(t testing.TB) *server {
	t.Helper()
	tools, err := cluster.FindTools(cluster.ToolsFolder("../../.."))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: t.TempDir(), tools: tools, etcdPort: freePort(t), peerPort: freePort(t), port: freePort(t)}
	s.keys()
	s.write("tokens.csv", "admin,admin,1,system:masters\nmesh,"+user+",2,\"system:serviceaccounts,system:serviceaccounts:wasmesh-system\"\n")
	for _, who := range []string{"admin", "mesh"} {
		s.write(who+".kubeconfig", fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"x",
"clusters":[{"name":"x","cluster":{"server":"https://%s:%d","insecure-skip-tls-verify":true}}],
"users":[{"name":"x","user":{"token":%q}}],"contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}]}`, address, s.port, who))
	}
	s.startEtcd()
	s.startAPI()
	t.Cleanup(func() { s.stopAPI(); stop(s.etcd) })
	return s
}

func (s *server) startEtcd() {
	client, peer := fmt.Sprintf("http://%s:%d", address, s.etcdPort), fmt.Sprintf("http://%s:%d", address, s.peerPort)
	s.etcd = s.run(s.tools.Etcd, "--data-dir="+filepath.Join(s.dir, "etcd"), "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls="+client, "--advertise-client-urls="+client, "--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
}

func (s *server) startAPI() {
	s.t.Helper()
	s.apiserver = s.run(s.tools.APIServer, fmt.Sprintf("--etcd-servers=http://%s:%d", address, s.etcdPort),
		"--bind-address="+address, fmt.Sprintf("--secure-port=%d", s.port), "--advertise-address=10.244.0.1",
		"--cert-dir="+filepath.Join(s.dir, "certs"), "--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+filepath.Join(s.dir, "sa.key"),
		"--service-account-signing-key-file="+filepath.Join(s.dir, "sa.key"), "--authorization-mode=RBAC",
		"--disable-admission-plugins=ServiceAccount", "--token-auth-file="+filepath.Join(s.dir, "tokens.csv"),
		"--event-ttl=1h")
	s.ready()
}

// ready waits until the server says that it is.
func (s *server) ready() {
	s.t.Helper()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	eventually(s.t, 60*time.Second, "the API server is ready", func() bool {
		r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://%s:%d/readyz", address, s.port), nil)
		if err != nil {
			return false
		}
		r.Header.Set("Authorization", "Bearer admin")
		resp, err := client.Do(r)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (s *server) stopAPI() { stop(s.apiserver) }

func (s *server) run(program string, args ...string) *exec.Cmd {
	s.t.Helper()
	name := filepath.Base(program)
	log, err := os.OpenFile(filepath.Join(s.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	return cmd
}

func stop(cmd *exec.Cmd) {
	if cmd != nil && cmd.ProcessState == nil {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// kubectl runs it as the administrator.
func (s *server) kubectl(stdin string, args ...string) string {
	s.t.Helper()
	out, err := s.tryKubectl(stdin, args...)
	if err != nil {
		s.t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return out
}

func (s *server) tryKubectl(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.tools.Kubectl, append([]string{"--kubeconfig", s.kubeconfig("admin")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// apply applies manifests as written, without a look at their schema.
func (s *server) apply(manifests string) {
	s.t.Helper()
	s.kubectl(manifests, "apply", "--validate=false", "-f", "-")
}

// roles gives the control plane what its chart gives it, and no more.
func (s *server) roles() {
	s.t.Helper()
	s.kubectl("", "create", "namespace", "wasmesh-system")
	template := exec.Command(s.tools.Helm, "template", "wasmesh", filepath.Join("..", "..", "..", "charts", "wasmesh"), "--namespace", "wasmesh-system",
		"--show-only", "templates/rbac.yaml", "--show-only", "templates/state.yaml")
	out, err := template.Output()
	if err != nil {
		s.t.Fatalf("helm template: %v", err)
	}
	s.apply(string(out))
}

func (s *server) kubeconfig(who string) string { return filepath.Join(s.dir, who+".kubeconfig") }

func (s *server) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) keys() {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("sa.key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually waits for a condition, and fails with what it waited for.
func eventually(t testing.TB, limit time.Duration, what string, is func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !is() {
		if time.Since(begin) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(begin)
}
