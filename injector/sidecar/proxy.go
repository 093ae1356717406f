package sidecar

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// killAfter is how long Envoy may take to end after SIGTERM; it takes
// milliseconds, unless it hangs.
const killAfter = 5 * time.Second

// proxy is a running Envoy.
type proxy struct {
	process *os.Process
	admin   Admin
	output  *prefixer
	// ended is closed when Envoy has ended; then status says how.
	ended  chan struct{}
	status string
}

// startProxy starts Envoy in the run folder, with own added to its environment. Its
// access log goes to out as it is: each line of it is an object of JSON. What it says
// besides goes to log.
func startProxy(binary string, args, own []string, r *runDir, out, log io.Writer) (*proxy, error) {
	cmd := exec.Command(binary, args...)
	cmd.Dir = r.path
	cmd.Env = append(withoutSecrets(os.Environ()), own...)
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = time.Second
	p := &proxy{admin: Admin{r.file(AdminSocket)}, output: &prefixer{out: log}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, p.output
	started := make(chan error)
	go func() {
		// The kernel ends Envoy with the thread that started it, so this one must
		// live as long as Envoy.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // the state says more
		p.output.flush()
		p.status = cmd.ProcessState.String()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting envoy: %w", err)
	}
	p.process = cmd.Process
	return p, nil
}

// withoutSecrets drops what is meant for us alone, such as the join token.
func withoutSecrets(env []string) []string {
	var kept []string
	for _, v := range env {
		if !strings.HasPrefix(v, "WASMESH_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// died describes an end that nobody asked for.
func (p *proxy) died() error {
	last := strings.TrimSpace(p.output.last())
	if last == "" {
		last = "(it logged nothing)"
	}
	return fmt.Errorf("envoy ended by itself (%s); its last lines:\n%s", p.status, last)
}

// stop ends Envoy: it stops taking new connections, has at most drain to finish
// what is open, and is then told to end, and made to.
func (p *proxy) stop(drain time.Duration, log *slog.Logger) {
	if p.await(0) {
		return
	}
	if drain > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		for _, path := range []string{"/healthcheck/fail", "/drain_listeners?graceful"} {
			if err := p.admin.Post(ctx, path); err != nil {
				log.Warn("envoy does not drain", "reason", err)
				break
			}
		}
		p.drained(ctx)
	}
	_ = p.process.Signal(syscall.SIGTERM)
	if p.await(killAfter) {
		return
	}
	log.Warn("envoy does not end on SIGTERM; killing it", "after", killAfter)
	_ = p.process.Kill()
	p.await(killAfter)
}

// await reports whether Envoy ended within the time.
func (p *proxy) await(within time.Duration) bool {
	select {
	case <-p.ended:
		return true
	default:
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
		return false
	}
}
