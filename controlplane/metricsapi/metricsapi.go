// Package metricsapi turns what sidecars counted into the traffic metrics of SMI:
// who called whom how often, with what success and how fast, as TrafficMetrics of
// metrics.smi-spec.io/v1alpha1.
//
// It is pure: samples come in as text or as Prometheus's answer, with the time at
// which they were taken, and what is kept is bounded, whatever anybody sends. It
// never asks anybody, never guesses what was not read (that is told as missing),
// and never takes a label of a sample for more than a name.
package metricsapi

import (
	"time"

	"github.com/wasmesh/wasmesh/filters/traffic"
)

// The metrics that are read, and their labels. A request is counted once, by the
// sidecar of its destination.
const (
	// Requests is a counter with a code beside the labels of both peers.
	Requests = traffic.Requests
	// Durations is a histogram in milliseconds with the labels of both peers.
	Durations = traffic.Duration
	// LabelCode is the status of the answer; 0 is none.
	LabelCode = traffic.LabelCode

	sourceLabel      = traffic.SourceLabels
	destinationLabel = traffic.DestinationLabels
	boundLabel       = "le"
)

// Unknown is the kind and the name of a peer outside of the mesh.
const Unknown = "unknown"

// Peer is one side of some traffic.
type Peer struct {
	// Kind is spelled as Kubernetes does, such as Deployment; Workload outside of it.
	Kind, Namespace, Name string
	// Pod is empty where it is not told.
	Pod string
}

// IsAnybody reports that the peer is none in particular: outside of the mesh, or one
// of more than a sidecar tells apart.
func (p Peer) IsAnybody() bool { return p.Kind == Unknown || p.Kind == traffic.Overflow }

// Flow is what passed from one peer to another in some time.
type Flow struct {
	Source, Destination Peer
	// Success are requests with an answer below 500, Failure all others.
	Success, Failure float64
	// Latency is in milliseconds.
	Latency Histogram
}

// Miss is a destination whose figures are not, or not all, among the flows. An
// empty Peer is all of them.
type Miss struct {
	Peer
	// Cause ends a sentence that names the peer.
	Cause string
}

// Traffic is what a source knows of a window of time.
type Traffic struct {
	Flows []Flow
	// At is the end of the window.
	At     time.Time
	Misses []Miss
}

// Succeeded reports whether an answer of that code counts as success: whatever the
// application answered on purpose does, no answer does not.
func Succeeded(code string) bool {
	if len(code) != 3 {
		return false
	}
	return code[0] >= '1' && code[0] <= '4'
}
