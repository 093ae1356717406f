// Package receive takes in what sidecars saw, over gRPC, and keeps it in an
// observe.Set.
//
// Which workload an entry is from is what the caller's certificate says. The
// package never looks at the node that a message names, never answers, and
// never holds a sidecar up: a sidecar that cannot send drops its entries, and
// traffic goes on.
package receive

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
)

// Receiver is an access log service.
type Receiver struct {
	accesslogv3.UnimplementedAccessLogServiceServer
	// sender says which workload has opened a stream, account what it runs as.
	sender  func(context.Context) (mesh.Name, bool)
	account func(workload mesh.Name) (mesh.Name, bool)
	log     *slog.Logger

	mu  sync.Mutex
	set *observe.Set
}

// New returns a receiver with nothing observed yet. sender tells the workload
// that was authenticated on a stream, account the service account of a workload.
func New(trustDomain string, sender func(context.Context) (mesh.Name, bool), account func(mesh.Name) (mesh.Name, bool), log *slog.Logger) *Receiver {
	return &Receiver{sender: sender, account: account, log: log, set: observe.New(trustDomain, time.Now().UTC())}
}

// Register adds the service to a server.
func (r *Receiver) Register(s grpc.ServiceRegistrar) {
	accesslogv3.RegisterAccessLogServiceServer(s, r)
}

// Report returns what was observed so far.
func (r *Receiver) Report() observe.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set.Report()
}

// StreamAccessLogs reads until the sidecar or its certificate ends.
func (r *Receiver) StreamAccessLogs(stream accesslogv3.AccessLogService_StreamAccessLogsServer) error {
	workload, ok := r.sender(stream.Context())
	if !ok {
		return status.Error(codes.PermissionDenied, "not a workload of this mesh")
	}
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			if stream.Context().Err() == nil {
				r.log.Warn("what a sidecar saw could not be read and is not observed", "proxy", workload.String(), "cause", err)
			}
			return err
		}
		// Asked for each time: the workload may have been given another account.
		if account, ok := r.account(workload); ok {
			r.add(account, m)
		}
	}
}

func (r *Receiver) add(account mesh.Name, m *accesslogv3.StreamAccessLogsMessage) {
	now := time.Now().UTC()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range m.GetTcpLogs().GetLogEntry() {
		r.set.Add(account, e, now)
	}
}
