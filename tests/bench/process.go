package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"github.com/wasmesh/wasmesh/tests/usage"
	"google.golang.org/protobuf/proto"
)

// stopTimeout is how long a killed Envoy may take to be gone.
const stopTimeout = 10 * time.Second

// process is a running Envoy.
type process struct {
	cmd     *exec.Cmd
	address netip.AddrPort
	started time.Time
	exited  chan struct{} // closed once it is gone
	log     *tail
}

// startEnvoy starts an Envoy in dir, under which modules are looked for. The
// process is returned, to be stopped, even if a later step failed.
func startEnvoy(ctx context.Context, c cores, binary, dir string, config *bootstrapv3.Bootstrap, at netip.AddrPort) (*process, error) {
	encoded, err := proto.Marshal(config)
	if err != nil {
		return nil, err
	}
	// Binary, as the control plane sends it: parsing text would show in the memory.
	name := at.Addr().String() + ".pb"
	if err := os.WriteFile(filepath.Join(dir, name), encoded, 0o600); err != nil {
		return nil, err
	}
	p := &process{address: at, exited: make(chan struct{}), log: &tail{}}
	p.cmd = exec.CommandContext(ctx, binary, "--config-path", name,
		"--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = dir, p.log, p.log, time.Second
	// The kernel kills it with this process, however that ends.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting envoy: %w", err)
	}
	go func() {
		p.cmd.Wait() // how it ended does not matter; that it did is an error elsewhere
		close(p.exited)
	}()
	return p, move(p.cmd.Process.Pid, c.all)
}

// stop kills the process and waits for its end.
func (p *process) stop() error {
	p.cmd.Process.Kill() // fails only if it is gone
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
		return errors.New("envoy does not end")
	}
}

// gone reports whether the process ended, and what it last said.
func (p *process) gone() error {
	select {
	case <-p.exited:
		return fmt.Errorf("envoy ended: %s", p.log)
	default:
		return nil
	}
}

// clocks are the times a process ran and waited so far.
type clocks struct{ cpu, waited time.Duration }

func (p *process) clocks() (time.Time, clocks, error) {
	waited, err := p.waited()
	if err != nil {
		return time.Time{}, clocks{}, err
	}
	cpu, err := usage.CPU(p.cmd.Process.Pid)
	return time.Now(), clocks{cpu, waited}, err
}

// waited is how long the process's threads were ready to run while something
// else had their core: the measure of how disturbed a run is.
func (p *process) waited() (time.Duration, error) {
	tasks, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "task", "*", "schedstat"))
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, task := range tasks {
		var running, waiting time.Duration
		line, err := os.ReadFile(task)
		if err == nil {
			_, err = fmt.Sscan(string(line), &running, &waiting)
		}
		if err != nil {
			return 0, fmt.Errorf("reading how long envoy waited: %w", err)
		}
		total += waiting
	}
	return total, nil
}

// anonymous is the process's own memory, without mapped files, in bytes.
func (p *process) anonymous() (int, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		return 0, fmt.Errorf("reading envoy's memory: %w", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(value, "kB")))
			return kb << 10, err
		}
	}
	return 0, errors.New("reading envoy's memory: the kernel does not tell RssAnon")
}

// tail keeps the end of what a process writes. Only its process's writer and,
// after the end, gone touch it.
type tail struct{ kept []byte }

// maxTail is enough for the reason why Envoy refuses a configuration, in bytes.
const maxTail = 4096

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if len(t.kept) > maxTail {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-maxTail:]...)
	}
	return len(b), nil
}

func (t *tail) String() string { return string(t.kept) }
