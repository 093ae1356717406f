package serve

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// bearer is what the certificate of a stream says beside the proxy's name.
type bearer struct {
	// account is the SPIFFE ID, kind that of the object that the workload is.
	account, kind string
	// end ends the stream with a reason.
	end context.CancelCauseFunc
}

// bars decides whether a stream gets nothing, and ends it if so. A pod's
// certificate lives on for a while when the pod is gone or another has its name: a
// pod of one service account must not see what is meant for one of another. A pod
// that the mesh never had is no such case: the news of it may be on their way.
// Workload objects are named by people, and keep their stream while an edit of
// theirs waits for the next certificate.
func (s *state) bars(st *stream) bool {
	w, there := s.snapshot.Workload(st.proxy)
	switch {
	case there && (w.Kind == mesh.KindPod) != (st.bearer.kind == mesh.KindPod):
		return s.bar(st, "a certificate for another kind of object", w)
	case st.bearer.kind != mesh.KindPod:
		return false
	case !there && st.known:
		st.bearer.end(status.Errorf(codes.NotFound, "%s is not in the mesh any more", st.proxy))
		s.log.Info("a workload is gone, and its proxy's stream is ended", "proxy", st.proxy.String())
		return true
	case !there:
		return false
	}
	st.known = true
	if want := mesh.SPIFFEID(s.snapshot.TrustDomain, w.ServiceAccount); want != st.bearer.account {
		return s.bar(st, "the certificate of another service account", w)
	}
	return false
}

// bar ends the stream of a proxy that has not what its workload would have.
func (s *state) bar(st *stream, what string, w mesh.Workload) bool {
	st.bearer.end(status.Errorf(codes.PermissionDenied, "%s has another identity now", st.proxy))
	st.tell.Warn(s.log, time.Now(), "a proxy has "+what+" than its workload, and its stream is ended",
		"proxy", st.proxy.String(), "certificate", st.bearer.account, "kind", st.bearer.kind, "workload", w.ServiceAccount.String())
	return true
}
