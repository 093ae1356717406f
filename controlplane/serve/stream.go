package serve

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/identity"
)

const (
	// keepaliveInterval finds a proxy that vanished without a word.
	keepaliveInterval = 30 * time.Second
	// idleConnection is how long a connection without a stream is kept.
	idleConnection = time.Minute
	// maxConnectionStreams: Envoy's main thread opens one for its configuration,
	// each worker one for what it sees.
	maxConnectionStreams = 16
)

// Serve accepts proxies on l until ctx ends. The TLS configuration must demand
// and verify client certificates: the certificate alone says which proxy it is.
// More services can be registered beside ADS; their streams are authenticated
// in the same way, end with the certificate too, and ask WorkloadOf who it is.
func (s *Server) Serve(ctx context.Context, l net.Listener, config *tls.Config, more ...func(grpc.ServiceRegistrar)) error {
	if config.ClientAuth != tls.RequireAndVerifyClientCert {
		return fmt.Errorf("xDS on %s: the TLS configuration does not verify client certificates", l.Addr())
	}
	g := grpc.NewServer(
		grpc.Creds(newGreeter(credentials.NewTLS(config), s.log)),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: keepaliveInterval, Timeout: keepaliveInterval / 3, MaxConnectionIdle: idleConnection,
		}),
		grpc.MaxConcurrentStreams(maxConnectionStreams),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.StreamInterceptor(s.intercept),
	)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, serverv3.NewServer(ctx, s.cache, nil))
	for _, register := range more {
		register(g)
	}
	stop := context.AfterFunc(ctx, g.Stop)
	defer stop()
	if err := g.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("xDS on %s: %w", l.Addr(), err)
	}
	return nil
}

// intercept says who is on a stream, and ends the stream when the certificate
// that opened it ends.
func (s *Server) intercept(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	proxy, by, expires, err := authenticate(ss.Context())
	if err != nil {
		s.tell.Warn(s.log, time.Now(), "a proxy was refused", "cause", err)
		return status.Error(codes.PermissionDenied, "not a workload of this mesh")
	}
	ctx, cancel := context.WithDeadlineCause(context.WithValue(ss.Context(), workloadKey{}, proxy), expires, errCertificateEnded)
	defer cancel()
	if !strings.HasPrefix(info.FullMethod, adsPrefix) {
		return untilExpiry(ctx, func() error { return handle(srv, identified{ss, ctx}) })
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	by.end = end
	if err := s.guests.open(ctx, proxy); err != nil {
		return err
	}
	v, leave := s.guests.enter(proxy, end)
	defer leave()
	t := &tap{ServerStream: ss, ctx: ctx, server: s, proxy: proxy, visit: v, key: s.key(proxy), refused: make(chan error, 1)}
	defer t.unanswered.end()
	if err := s.send(ctx, opened{t.key, proxy, time.Now(), by}); err != nil {
		return err
	}
	defer s.forget(t.key)
	if err := s.send(ctx, certified{t.key, expires}); err != nil {
		return err
	}
	return untilExpiry(ctx, func() error { return t.outcome(handle(srv, t)) })
}

// untilExpiry returns when the stream ends by itself or with its certificate.
func untilExpiry(ctx context.Context, stream func() error) error {
	done := make(chan error, 1)
	go func() { done <- stream() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// errCertificateEnded is how a stream ends that its certificate ended.
var errCertificateEnded = status.Error(codes.Unauthenticated, "the certificate of this stream has ended")

// adsPrefix begins the methods of the discovery service.
const adsPrefix = "/envoy.service.discovery.v3."

// workloadKey is where a stream's context keeps who opened it.
type workloadKey struct{}

// WorkloadOf returns the workload whose certificate opened the stream of ctx.
func WorkloadOf(ctx context.Context) (mesh.Name, bool) {
	workload, ok := ctx.Value(workloadKey{}).(mesh.Name)
	return workload, ok
}

// identified is a stream whose context says who opened it.
type identified struct {
	grpc.ServerStream
	ctx context.Context
}

// Context ends with the certificate.
func (i identified) Context() context.Context { return i.ctx }

// key names one stream: a proxy that reconnects has a new entry in the cache
// while the old one goes.
func (s *Server) key(proxy mesh.Name) string {
	return fmt.Sprintf("%s#%d", proxy, s.streams.Add(1))
}

// forget must reach the loop even though the stream's own context has ended.
func (s *Server) forget(key string) {
	select {
	case s.events <- closed{key}:
	case <-s.stopped:
	}
}

// authenticate reads the proxy's name and kind from the label, and its account
// from the SPIFFE ID, that the mesh's authority signed into its certificate.
func authenticate(ctx context.Context) (proxy mesh.Name, by bearer, expires time.Time, err error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return proxy, by, expires, fmt.Errorf("no peer on the stream")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return proxy, by, expires, fmt.Errorf("%s has no certificate", p.Addr)
	}
	leaf := info.State.PeerCertificates[0]
	if len(leaf.DNSNames) != 1 || len(leaf.URIs) != 1 {
		return proxy, by, expires, fmt.Errorf("the certificate of %s has %d DNS names and %d URIs instead of one label and one SPIFFE ID", p.Addr, len(leaf.DNSNames), len(leaf.URIs))
	}
	label, ok := identity.ParseLabel(leaf.DNSNames[0])
	if !ok {
		return proxy, by, expires, fmt.Errorf("the certificate of %s has the DNS name %q, which is no workload's label", p.Addr, leaf.DNSNames[0])
	}
	return mesh.Name{Namespace: label.Namespace, Name: label.Name}, bearer{account: leaf.URIs[0].String(), kind: label.Kind}, leaf.NotAfter, nil
}

// tap is a stream whose messages the loop hears of.
type tap struct {
	grpc.ServerStream
	ctx    context.Context
	server *Server
	proxy  mesh.Name
	visit  *visit
	key    string
	// introduced: it has asked for filters, and said which it has.
	introduced bool
	// asked is what the names cost that the proxy has asked for so far.
	asked      int
	unanswered unanswered
	// refused holds why RecvMsg ended the stream: the server that reads from it
	// takes every error for the proxy's goodbye.
	refused chan error
}

// outcome is how the stream ends: with the refusal if there was one.
func (t *tap) outcome(err error) error {
	select {
	case refusal := <-t.refused:
		return refusal
	default:
		return err
	}
}

// refuse ends the stream with an error that the proxy gets to see.
func (t *tap) refuse(err error) error {
	select {
	case t.refused <- err:
	default:
	}
	return err
}

// Context ends with the certificate.
func (t *tap) Context() context.Context { return t.ctx }

// RecvMsg replaces the node a proxy claims to be by the one it is.
func (t *tap) RecvMsg(m any) error {
	if err := t.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	req, ok := m.(*discoveryv3.DeltaDiscoveryRequest)
	if !ok {
		return t.refuse(status.Error(codes.Unimplemented, "only delta ADS is served"))
	}
	if claimed := req.GetNode().GetId(); claimed != "" && claimed != t.proxy.String() {
		t.server.log.Warn("a proxy asked for another's configuration and was refused",
			"proxy", t.proxy.String(), "asked for", claimed)
		return t.refuse(status.Errorf(codes.PermissionDenied, "this certificate belongs to %s", t.proxy))
	}
	if err := t.admit(req); err != nil {
		return t.refuse(err)
	}
	req.Node = &corev3.Node{Id: t.key}
	if had := req.GetInitialResourceVersions(); len(had) > 0 || req.GetTypeUrl() == xds.FilterType && !t.introduced {
		t.introduced = t.introduced || req.GetTypeUrl() == xds.FilterType
		if err := t.server.send(t.ctx, brought{t.key, req.GetTypeUrl(), had}); err != nil {
			return err
		}
	}
	if req.GetResponseNonce() == "" {
		return nil
	}
	t.unanswered.answered(req.GetResponseNonce())
	cause := req.GetErrorDetail().GetMessage()
	return t.server.send(t.ctx, answered{
		key: t.key, typeURL: req.GetTypeUrl(), nonce: req.GetResponseNonce(),
		cause: strings.ToValidUTF8(cause[:min(len(cause), maxCause)], ""), at: time.Now(),
	})
}

// admit holds a message against what one proxy may cost.
func (t *tap) admit(req *discoveryv3.DeltaDiscoveryRequest) error {
	if !slices.Contains(served(), req.GetTypeUrl()) {
		return status.Errorf(codes.InvalidArgument, "no resources of the type %.100q are served", req.GetTypeUrl())
	}
	if t.asked += asked(req); t.asked > maxAsked {
		return status.Error(codes.ResourceExhausted, "this stream has asked for too many names; open another")
	}
	return t.visit.wait(t.ctx, 1)
}

// expect gives the proxy its time to answer a response.
func (t *tap) expect(nonce string) error {
	late := func() {
		t.server.tell.Warn(t.server.log, time.Now(), "a proxy does not answer, and its stream is ended", "proxy", t.proxy.String(), "after", answerLimit)
		t.visit.end(status.Errorf(codes.DeadlineExceeded, "no answer to a response within %v", answerLimit))
	}
	if !t.unanswered.begin(nonce, late) {
		return status.Error(codes.ResourceExhausted, "too many responses are not answered")
	}
	return nil
}

// SendMsg tells the loop which names a response carries before it leaves.
func (t *tap) SendMsg(m any) error {
	if resp, ok := m.(*discoveryv3.DeltaDiscoveryResponse); ok {
		if err := t.expect(resp.GetNonce()); err != nil {
			return err
		}
		d := delivery{nonce: resp.GetNonce(), size: proto.Size(resp)}
		for _, r := range resp.GetResources() {
			d.names = append(d.names, r.GetName())
		}
		if err := t.server.send(t.ctx, sent{t.key, resp.GetTypeUrl(), d}); err != nil {
			return err
		}
	}
	return t.ServerStream.SendMsg(m)
}
