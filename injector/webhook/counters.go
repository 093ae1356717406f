package webhook

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// Counters say what was answered since the start.
type Counters struct {
	Injected, LeftAlone, Refused atomic.Int64
	// Failed are questions without an answer, for which the pod was not created.
	Failed atomic.Int64
	// nanoseconds is the time of all answers.
	nanoseconds, answers atomic.Int64
}

func (c *Counters) took(d time.Duration) {
	c.nanoseconds.Add(int64(d))
	c.answers.Add(1)
}

// Write writes them as Prometheus reads them.
func (c *Counters) Write(w io.Writer) error {
	_, err := fmt.Fprintf(w, `# TYPE wasmesh_injector_admissions_total counter
wasmesh_injector_admissions_total{outcome="injected"} %d
wasmesh_injector_admissions_total{outcome="left_alone"} %d
wasmesh_injector_admissions_total{outcome="refused"} %d
wasmesh_injector_admissions_total{outcome="failed"} %d
# TYPE wasmesh_injector_admission_seconds summary
wasmesh_injector_admission_seconds_sum %g
wasmesh_injector_admission_seconds_count %d
`, c.Injected.Load(), c.LeftAlone.Load(), c.Refused.Load(), c.Failed.Load(),
		time.Duration(c.nanoseconds.Load()).Seconds(), c.answers.Load())
	return err
}
