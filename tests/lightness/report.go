package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// report writes the figures as Markdown. A bar that was missed is an error.
func report(w io.Writer, o options, all []figures) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "A sidecar's Envoy with one worker, %d principals, mutual TLS, HTTP/2; %d starts, medians (highest).\n\n", principals, o.starts)
	b.WriteString("| built by | module, KB | anonymous MB | bar | active after, s | bar | growth over the load, MB | requests per second |\n|---|---|---|---|---|---|---|---|\n")
	var missed []error
	for _, f := range all {
		bar, err := barsOf(f.compiler)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "| %s | %d | %s (%s) | %s | %.2f (%.2f) | %.1f | %s | %.0f |\n", f.compiler, f.size/1000,
			megabytes(median(f.memory)), megabytes(slices.Max(f.memory)), megabytes(bar.memory),
			median(f.active).Seconds(), slices.Max(f.active).Seconds(), bar.active.Seconds(),
			megabytes(f.growth()), float64(o.requests)/f.took.Seconds())
		missed = append(missed, f.missed(bar))
	}
	fmt.Fprintf(&b, "\nThe load is %d requests, a tenth of them refused; growth is from its first fifth to its last.\n", o.requests)
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	return errors.Join(missed...)
}

// missed says which bars the figures are beyond.
func (f figures) missed(bar bars) error {
	var missed []error
	if got := max(median(f.memory), median(f.soak)); got > bar.memory {
		missed = append(missed, fmt.Errorf("%s: %s MB are more than %s", f.compiler, megabytes(got), megabytes(bar.memory)))
	}
	if got := median(f.active); got > bar.active {
		missed = append(missed, fmt.Errorf("%s: active after %v, later than %v", f.compiler, got, bar.active))
	}
	if got := f.growth(); got > maxGrowth {
		missed = append(missed, fmt.Errorf("%s: memory grew by %s MB", f.compiler, megabytes(got)))
	}
	return errors.Join(missed...)
}
