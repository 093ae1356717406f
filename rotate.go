package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/ca"
)

// runCA replaces the root in three steps, each of which a person takes: only a
// person knows who is off and should come back.
func runCA(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("ca rotate start|switch|finish|status", stderr)
	socket := f.String("status", filepath.Join(defaultState, "status.sock"), "the control plane's Unix socket")
	force := f.Bool("force", false, "make the step though it cuts workloads off: they are refused by their peers until they have renewed")
	wait := f.Duration("wait", 0, "how long to wait until the step cuts nobody off")
	plain, err := parse(f, args)
	if err != nil {
		return err
	}
	if len(plain) != 2 || plain[0] != "rotate" {
		return errors.New("use: wasmesh ca rotate start|switch|finish|status")
	}
	step := ca.Step(plain[1])
	switch step {
	case "status":
		var r ca.Rotation
		if err := askControlPlane(ctx, *socket, controlplane.RotationPath, &r); err != nil {
			return err
		}
		return printRotation(stdout, r)
	case ca.Start, ca.Switch, ca.Finish:
	default:
		return fmt.Errorf("there is no step %q; the steps are start, switch and finish", plain[1])
	}
	for deadline := time.Now().Add(*wait); ; {
		r, refusal, err := rotate(ctx, *socket, step, *force)
		switch {
		case err != nil:
			return err
		case refusal == nil:
			return printRotation(stdout, r)
		case !refusal.Force || time.Now().After(deadline):
			return refused(stdout, *refusal)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

// refused prints who waits; the answer is no.
func refused(stdout io.Writer, r controlplane.Refusal) error {
	fmt.Fprintln(stdout, r.Error)
	if r.Force {
		fmt.Fprintln(stdout, "\nWait for them (--wait 2m), or give --force. Of those that will not come back delete the pods, and revoke the workloads by removing their files from STATE/workloads.")
	}
	if err := printRotation(stdout, r.Rotation); err != nil {
		return err
	}
	return errNo
}

// rotate asks the control plane for a step.
func rotate(ctx context.Context, socket string, step ca.Step, force bool) (r ca.Rotation, refusal *controlplane.Refusal, err error) {
	form := url.Values{"step": {string(step)}, "force": {strconv.FormatBool(force)}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://controlplane"+controlplane.RotationPath, strings.NewReader(form))
	if err != nil {
		return r, nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := overSocket(socket).Do(request)
	if err != nil {
		return r, nil, fmt.Errorf("no control plane answers at %s: %w; a rotation needs it running, with the same --state", socket, err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return r, nil, json.NewDecoder(response.Body).Decode(&r)
	case http.StatusConflict:
		refusal = &controlplane.Refusal{}
		return r, refusal, json.NewDecoder(response.Body).Decode(refusal)
	}
	return r, nil, fmt.Errorf("rotation: the control plane answers %s; is it of this version?", response.Status)
}

func printRotation(w io.Writer, r ca.Rotation) error {
	if r.Last == ca.Finish {
		fmt.Fprintf(w, "no rotation is under way; the first step is %s\n", r.Next)
	} else {
		fmt.Fprintf(w, "a rotation is under way: the last step was %s, the next is %s\n", r.Last, r.Next)
	}
	fmt.Fprintf(w, "signer  %s, until %s\n", r.Signer.Name, r.Signer.Expires.Format(time.DateOnly))
	for _, root := range r.Trusted {
		fmt.Fprintf(w, "trusted %s, until %s, %s\n", root.Name, root.Expires.Format(time.DateOnly), root.Fingerprint)
	}
	for _, waiting := range r.Waiting {
		fmt.Fprintf(w, "not ready for %s: %s: %s\n", r.Next, waiting.Workload, waiting.Cause)
	}
	if len(r.Waiting) == 0 && r.Last != ca.Finish {
		fmt.Fprintf(w, "everyone is ready for %s\n", r.Next)
	}
	return nil
}
