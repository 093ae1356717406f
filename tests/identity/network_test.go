package identity

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/injector/sidecar"
)

const (
	trustDomain  = "identity.test"
	xdsAddress   = "127.156.0.9:15010"
	joinAddress  = "127.156.0.9:15012"
	registry     = "127.156.0.9:15013"
	readyTimeout = time.Minute
	pollInterval = 20 * time.Millisecond
)

var (
	buyer = mesh.Name{Namespace: "shop", Name: "buyer-1"}
	store = mesh.Name{Namespace: "shop", Name: "store-1"}
)

// network is a mesh of processes, each of which a test can end and start again.
type network struct {
	// whole is the test that the processes belong to: they outlive its parts.
	whole    *testing.T
	life     time.Duration
	work     string // state and logs
	memory   string // the sidecars' run folders
	control  *process
	sidecars map[mesh.Name]*process
	// outlet is where the buyer's application dials the store.
	outlet string
}

// newNetwork prepares folders and the application; nothing of the mesh runs yet.
func newNetwork(t *testing.T, life time.Duration) *network {
	t.Helper()
	n := &network{whole: t, life: life, work: t.TempDir(), sidecars: map[mesh.Name]*process{}}
	var err error
	if n.memory, err = os.MkdirTemp("/dev/shm", "id"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(n.memory) })
	loaded, err := files.Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	snapshot, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, smi.Settings{TrustDomain: trustDomain})
	for _, p := range append(loaded.Problems, problems...) {
		t.Fatalf("the test's own manifests have a problem: %s", p)
	}
	w, _ := snapshot.Workload(buyer)
	s, _ := snapshot.Service(mesh.Name{Namespace: "shop", Name: "store"})
	n.outlet = netip.AddrPortFrom(w.AddressOf(s), 7000).String()
	echo(t, "127.156.1.2:7000")
	return n
}

// echo is the store's application.
func echo(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

func (n *network) state() string { return filepath.Join(n.work, "state") }

// startControl starts the control plane, at the addresses it always has.
func (n *network) startControl(t *testing.T) {
	t.Helper()
	n.control = launch(n.whole, "the control plane", filepath.Join(n.work, "control.log"), programs.Wasmesh, "controlplane",
		"--source", "testdata", "--state", n.state(), "--module", programs.Module, "--trust-domain", trustDomain,
		"--xds", xdsAddress, "--join", joinAddress, "--registry", registry, "--leaf-lifetime", n.life.String())
	n.await(t, readyTimeout, "the control plane", func() error {
		_, err := n.wasmesh("status")
		return err
	})
}

// wasmesh runs the command against the control plane.
func (n *network) wasmesh(args ...string) (string, error) {
	args = append(args, "--status", filepath.Join(n.state(), "status.sock"))
	out, err := exec.Command(programs.Wasmesh, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("wasmesh %v: %w: %s", args, err, out)
	}
	return string(out), nil
}

func (n *network) token(t *testing.T, w mesh.Name) string {
	t.Helper()
	authority, err := ca.Open(n.state(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := authority.CreateToken(w, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// startSidecar starts a sidecar; without a token it lives on what its state
// folder keeps.
func (n *network) startSidecar(t *testing.T, w mesh.Name, token string) {
	t.Helper()
	file := filepath.Join(n.work, w.Name+".token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	n.sidecars[w] = launch(n.whole, "the sidecar of "+w.String(), filepath.Join(n.work, w.Name+".log"), programs.Sidecar,
		"--join-url", "https://"+joinAddress, "--xds", xdsAddress, "--token-file", file,
		"--state", filepath.Join(n.work, w.Name), "--run", n.run(w), "--registry", registry,
		"--envoy", programs.Envoy, "--concurrency", "1", "--drain-time", "0s")
}

func (n *network) run(w mesh.Name) string { return filepath.Join(n.memory, w.Name) }

func (n *network) admin(w mesh.Name) sidecar.Admin {
	return sidecar.Admin{Socket: filepath.Join(n.run(w), sidecar.AdminSocket)}
}

// start brings everything up.
func (n *network) start(t *testing.T) {
	t.Helper()
	n.startControl(t)
	for _, w := range []mesh.Name{buyer, store} {
		n.startSidecar(t, w, n.token(t, w))
	}
	n.awaitReady(t, buyer, store)
	n.await(t, readyTimeout, "the first connection", n.dial)
}

func (n *network) awaitReady(t *testing.T, workloads ...mesh.Name) {
	t.Helper()
	for _, w := range workloads {
		n.await(t, readyTimeout, "the sidecar of "+w.String(), func() error {
			ready, waiting, err := n.admin(w).Ready(context.Background())
			if err == nil && !ready {
				err = fmt.Errorf("it waits for %s", waiting)
			}
			return err
		})
	}
}

// await asks probe until it returns nil, and returns how long that took.
func (n *network) await(t *testing.T, limit time.Duration, what string, probe func() error) time.Duration {
	t.Helper()
	for began := time.Now(); ; time.Sleep(pollInterval) {
		err := probe()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			t.Fatalf("waiting for %s: not within %v; the last answer was: %v", what, limit, err)
		}
	}
}

// dial makes one connection from the buyer's application to the store's, with a
// handshake of its own between the sidecars, and has a byte come back.
func (n *network) dial() error {
	c, err := n.open()
	if err == nil {
		c.Close()
	}
	return err
}

func (n *network) open() (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.156.1.1")}}
	c, err := d.Dial("tcp", n.outlet)
	if err != nil {
		return nil, err
	}
	if err := exchange(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// exchange has a byte come back.
func exchange(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{'x'}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// kill ends a sidecar, and with it its Envoy, as a power cut does: the run
// folder, which is in memory, is gone too.
func (n *network) kill(t *testing.T, w mesh.Name) {
	t.Helper()
	n.sidecars[w].end(t, syscall.SIGKILL)
	if err := os.RemoveAll(n.run(w)); err != nil {
		t.Fatal(err)
	}
}
