package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/examples/bookstore/demo"
)

// end is line 8: when the demo has ended, nothing of it runs any more.
func (c *check) end() error {
	folders, groups := c.mesh.Folders(), c.mesh.Groups()
	running, err := demo.Leftovers(folders, groups)
	if err != nil {
		return err
	}
	if c.failed > 0 {
		c.complaints()
	}
	begun := time.Now()
	failure := c.mesh.Stop()
	took := time.Since(begun)
	left, err := demo.Leftovers(folders, groups)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		failure = errors.Join(failure, fmt.Errorf("left: %s", strings.Join(left, ", ")))
	}
	// Five sidecars with an Envoy each, five applications and a control plane.
	if len(running) < 16 {
		failure = errors.Join(failure, fmt.Errorf("only %d processes were found before the end: the search sees too little", len(running)))
	}
	c.line("8", "after the end, no process is left", failure, "%d before, %d after, %.1f s", len(running), len(left), took.Seconds())
	return nil
}

// complaints prints what the parts of the mesh warned of, for whoever looks for
// the cause of a failed line. The logs themselves go with the work folder.
func (c *check) complaints() {
	for _, p := range c.mesh.Processes {
		for _, line := range p.Complaints() {
			fmt.Fprintf(c.out, "        %s: %.240s\n", p.Name, line)
		}
	}
}
