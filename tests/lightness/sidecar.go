package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	// activeTimeout is long enough for any module on any machine.
	activeTimeout = time.Minute
	// retryInterval is the resolution of the time until the filter is active.
	retryInterval = 2 * time.Millisecond
	// meshProtocol is the ALPN name of the mesh's own connections.
	meshProtocol = "wasmesh"
	// connections and batch keep one worker busy.
	connections = 4
	batch       = 40
)

// sidecar is one that ships, with its Envoy, in a mesh of its own.
type sidecar struct {
	mesh        *rig.Mesh
	folder      string
	application net.Listener
	client      *tls.Config
	callers     []*caller
	// envoy is the process id.
	envoy int
	// active is how long after Envoy's start a granted request was let through.
	active time.Duration
}

// start brings the sidecar up, sees its filter let one request through and
// refuse another, and opens the connections of the load.
func start(ctx context.Context, programs rig.Programs) (s *sidecar, err error) {
	s = &sidecar{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.folder, err = os.MkdirTemp("", "lightness"); err != nil {
		return s, err
	}
	if err = writeManifests(s.folder); err != nil {
		return s, err
	}
	if s.application, err = startApplication(ctx); err != nil {
		return s, err
	}
	options := rig.Options{Manifests: s.folder, Settings: smi.Settings{TrustDomain: trustDomain}, Programs: programs}
	if s.mesh, err = rig.Start(ctx, options); err != nil {
		return s, err
	}
	authority, err := ca.Open(s.mesh.StateFolder(), ca.Options{TrustDomain: trustDomain})
	if err != nil {
		return s, err
	}
	if s.client, err = client(authority); err != nil {
		return s, err
	}
	token, err := authority.CreateToken(workload, activeTimeout)
	if err != nil {
		return s, err
	}
	if err = s.mesh.Join(workload, token); err != nil {
		return s, err
	}
	if err = s.awaitActive(ctx); err != nil {
		log, _ := s.mesh.SidecarLog(workload)
		return s, fmt.Errorf("%w; the sidecar said:\n%s", err, log)
	}
	for range connections {
		c, err := dial(ctx, s.client)
		if err != nil {
			return s, err
		}
		s.callers = append(s.callers, c)
	}
	return s, nil
}

func (s *sidecar) stop() error {
	for _, c := range s.callers {
		c.close()
	}
	var err error
	if s.mesh != nil {
		err = s.mesh.Stop()
	}
	if s.application != nil {
		s.application.Close()
	}
	return errors.Join(err, os.RemoveAll(s.folder))
}

// client connects as the granted principal in the middle of the list.
func client(authority *ca.Authority) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	name := account(principals / 2)
	leaf, err := authority.Issue(key.Public(), ca.Identity{ServiceAccount: name, Workload: name, Kind: ca.KindWorkload}, 0)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(leaf.Chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	if err != nil {
		return nil, err
	}
	label, err := ca.Label(workload, ca.KindWorkload)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority.TrustBundle()) {
		return nil, errors.New("the authority's bundle holds no certificate")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate}, RootCAs: roots, ServerName: label,
		MinVersion: tls.VersionTLS13, NextProtos: []string{meshProtocol},
	}, nil
}

// awaitActive measures the time from Envoy's start to the first request that was
// judged as the policy says.
func (s *sidecar) awaitActive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, activeTimeout)
	defer cancel()
	for {
		err := s.once(ctx)
		if err == nil {
			break
		}
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
			return fmt.Errorf("the filter is not active within %v: %w", activeTimeout, err)
		case <-s.mesh.Context().Done():
			return context.Cause(s.mesh.Context())
		}
	}
	seen := time.Now()
	var err error
	if s.envoy, err = listenerOf(ctx, s.mesh.Admin(workload).Socket); err != nil {
		return err
	}
	since, err := age(s.envoy)
	s.active = since - time.Since(seen)
	return err
}

// once makes ten requests, of which one is refused, on a connection of its own.
func (s *sidecar) once(ctx context.Context) error {
	c, err := dial(ctx, s.client)
	if err != nil {
		return err
	}
	defer c.close()
	return c.batch(10)
}

// load sends n requests, or some more, over all connections.
func (s *sidecar) load(ctx context.Context, n int) error {
	batches := (n + connections*batch - 1) / (connections * batch)
	failed := make([]error, len(s.callers))
	var all sync.WaitGroup
	for i, c := range s.callers {
		all.Go(func() {
			for range batches {
				if failed[i] = errors.Join(c.batch(batch), ctx.Err()); failed[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}
