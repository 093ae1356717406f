package requests

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/rig"
)

var (
	clientName = mesh.Name{Namespace: "a", Name: "client"}
	serverName = mesh.Name{Namespace: "b", Name: "server"}
)

// applyTimeout is how late a policy may run (smi-rules 32).
const applyTimeout = 5 * time.Second

func settings() smi.Settings { return smi.Settings{TrustDomain: trustDomain} }

// network is a running mesh of a client and a server with its applications.
type network struct {
	*rig.Mesh
	applications *applications
	folder       string
	// outlet is where the client's application dials the server, inlet where the
	// server's sidecar accepts the mesh's connections. client is the client's own
	// sidecar, which nobody calls.
	outlet, inlet, client netip.Addr
	forge                 *forge
	// member is what the client's own sidecar would show.
	member *tls.Config
}

// startNetwork returns when the policy runs.
func startNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{folder: t.TempDir()}
	if err := os.CopyFS(n.folder, os.DirFS(filepath.Join("testdata", "mesh"))); err != nil {
		t.Fatal(err)
	}
	snapshot, err := n.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	service, _ := snapshot.Service(serverName)
	client, _ := snapshot.Workload(clientName)
	server, _ := snapshot.Workload(serverName)
	n.outlet, n.inlet, n.client = client.AddressOf(service), server.Address, client.Address
	if n.applications, err = startApplications(t.Context(), server.Application); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.applications.stop(); err != nil {
			t.Error(err)
		}
	})
	n.Mesh, err = rig.Start(context.Background(), rig.Options{
		Manifests: n.folder, Settings: settings(), Workloads: []mesh.Name{clientName, serverName}, Programs: programs,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	if n.forge, err = openForge(n.StateFolder()); err != nil {
		t.Fatal(err)
	}
	honest, err := credentialsFor("member")
	if err == nil {
		n.member, err = n.forge.config(honest)
	}
	if err == nil {
		err = n.applied(snapshot)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// snapshot is what the folder means. A manifest with a problem would make
// denials that nobody meant.
func (n *network) snapshot() (*mesh.Snapshot, error) {
	loaded, err := files.Load(n.folder)
	if err != nil {
		return nil, err
	}
	snapshot, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, settings())
	if problems = append(loaded.Problems, problems...); len(problems) > 0 {
		return nil, fmt.Errorf("the manifests have problems: %v", problems)
	}
	return snapshot, nil
}

func (n *network) applied(s *mesh.Snapshot) error {
	return n.Await(applyTimeout, "the policy to run", func(ctx context.Context) error { return n.Applied(ctx, s) })
}

// edit replaces the policy as an editor that writes safely does, and returns
// when the new one runs.
func (n *network) edit(policy string) error {
	part := filepath.Join(n.folder, ".part")
	if err := os.WriteFile(part, []byte(policy), 0o600); err != nil {
		return err
	}
	if err := os.Rename(part, filepath.Join(n.folder, "access.yaml")); err != nil {
		return err
	}
	snapshot, err := n.snapshot()
	if err != nil {
		return err
	}
	return n.applied(snapshot)
}

// dial opens the connection for one way to an application. A handshake that the
// server ends gives errEnded.
func (n *network) dial(w way, port uint16, c credentials) (net.Conn, error) {
	to := netip.AddrPortFrom(n.outlet, port)
	if w == direct || w == handshake {
		to = netip.AddrPortFrom(n.inlet, port)
	}
	conn, err := net.DialTimeout("tcp", to.String(), answerTimeout)
	if err != nil || w == http1 || w == http2 || w == handshake && c.plaintext {
		return conn, err
	}
	config := n.member
	if w == handshake {
		if config, err = n.forge.config(c); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	secured := tls.Client(conn, config)
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(errEnded, err, conn.Close())
	}
	return secured, nil
}

// errEnded is a handshake that came to nothing.
var errEnded = errors.New("the handshake was refused")
