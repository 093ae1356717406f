package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// readyTimeout is long enough for any module on any machine.
	readyTimeout = time.Minute
	// retryInterval is the resolution of the time to ready.
	retryInterval = 2 * time.Millisecond
)

// member is one Envoy of a fleet, with the connections of its load.
type member struct {
	variant variant
	envoy   *process
	ready   time.Duration
	callers []caller
}

// join starts an Envoy, waits until it serves, proves that it decides, and warms
// it up. The member is returned, to be stopped, even if a later step failed.
func (b *bench) join(ctx context.Context, v variant, i int) (*member, error) {
	at := b.address(i)
	s, err := snapshot(v, at.Addr(), b.backend.address)
	if err != nil {
		return nil, err
	}
	config, protocol, err := bootstrap(v, s, b.ids)
	if err != nil {
		return nil, err
	}
	granted, stranger, err := b.whoCalls(v, at.String(), protocol)
	if err != nil {
		return nil, err
	}
	m := &member{variant: v}
	if m.envoy, err = startEnvoy(ctx, b.cores, b.binary.Path, b.dir, config, at); m.envoy == nil {
		return nil, err
	} else if err != nil {
		return m, err
	}
	if err := m.await(ctx, granted); err != nil {
		return m, err
	}
	if err := move(m.envoy.cmd.Process.Pid, b.cores.envoy); err != nil {
		return m, err
	}
	if err := m.proveDecisions(ctx, granted, stranger); err != nil {
		return m, err
	}
	for range b.options.connections {
		c, err := granted(ctx)
		if err != nil {
			return m, err
		}
		m.callers = append(m.callers, c)
	}
	return m, m.drive(ctx, b.options.warmup)
}

// dialer opens a connection as somebody.
type dialer func(context.Context) (caller, error)

// whoCalls are somebody with the right and somebody without.
func (b *bench) whoCalls(v variant, to, protocol string) (granted, stranger dialer, err error) {
	if v.wire == plaintext {
		from := func(address string) dialer {
			return func(ctx context.Context) (caller, error) { return dialPlain(ctx, to, address) }
		}
		return from(callerAddress), from(strangerAddress), nil
	}
	as := func(l leaf) (dialer, error) {
		client, err := b.ids.client(l, protocol)
		return func(ctx context.Context) (caller, error) { return dial(ctx, to, client) }, err
	}
	issued, err := b.ids.issue(account(v.caller()))
	if err != nil {
		return nil, nil, err
	}
	if granted, err = as(issued); err != nil {
		return nil, nil, err
	}
	stranger, err = as(b.ids.stranger)
	return granted, stranger, err
}

func (m *member) stop() error {
	for _, c := range m.callers {
		c.close()
	}
	return m.envoy.stop()
}

// await measures the time from the start to the first 200.
func (m *member) await(ctx context.Context, granted dialer) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		status, err := m.once(ctx, granted, grantedMethod, grantedPath)
		if err == nil && status == 200 {
			m.ready = time.Since(m.envoy.started)
			return nil
		}
		if err := m.envoy.gone(); err != nil {
			return err
		}
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
			return fmt.Errorf("not ready (last status %d): %w", status, errors.Join(ctx.Err(), err))
		}
	}
}

// proveDecisions checks that another caller, method or path is refused: a filter
// that lets everything through would measure very well.
func (m *member) proveDecisions(ctx context.Context, granted, stranger dialer) error {
	refusal := 403
	if m.variant.decider == nobody {
		refusal = 200
	}
	for _, t := range []struct {
		stranger     bool
		method, path string
		want         int
	}{
		{false, grantedMethod, grantedPath, 200},
		{false, grantedMethod, grantedPath + "?page=2", 200},
		{false, grantedMethod, grantedPath + "/all", refusal},
		{false, "POST", grantedPath, refusal},
		{true, grantedMethod, grantedPath, refusal},
		{false, grantedMethod, m.variant.path, 200},
		{true, grantedMethod, m.variant.path, refusal},
	} {
		as := granted
		if t.stranger {
			as = stranger
		}
		got, err := m.once(ctx, as, t.method, t.path)
		if err != nil {
			return err
		}
		if got != t.want {
			return fmt.Errorf("%s %s (by the stranger: %t) was answered %d, not %d: this is not the policy that is measured",
				t.method, t.path, t.stranger, got, t.want)
		}
	}
	return nil
}

// once makes one request on a connection of its own.
func (m *member) once(ctx context.Context, as dialer, method, path string) (int, error) {
	c, err := as(ctx)
	if err != nil {
		return 0, err
	}
	defer c.close()
	if err := c.connection().SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return 0, err
	}
	status, _, err := c.call(method, path)
	return status, err
}

// sample is what one round tells of one Envoy.
type sample struct {
	cost float64 // µs of CPU time per request
	busy float64 // share of the time in which Envoy was at work
	kept float64 // share of the time in which others kept it from its core
}

// measure sends n requests.
func (m *member) measure(ctx context.Context, n int) (sample, error) {
	begun, before, err := m.envoy.clocks()
	if err != nil {
		return sample{}, err
	}
	if err := m.drive(ctx, n); err != nil {
		return sample{}, err
	}
	ended, after, err := m.envoy.clocks()
	took := ended.Sub(begun).Seconds()
	return sample{
		cost: (after.cpu - before.cpu).Seconds() * 1e6 / float64(n),
		busy: (after.cpu - before.cpu).Seconds() / took,
		kept: (after.waited - before.waited).Seconds() / took,
	}, err
}

// drive spreads n requests over the connections. Anything but the whole answer
// of the application, even once, is an error.
func (m *member) drive(ctx context.Context, n int) error {
	// A request takes a tenth of a millisecond; ten times that is a machine that
	// measures nothing.
	timeout := callTimeout + time.Duration(n)*time.Millisecond
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errors.New("the load takes too long"))
	defer cancel()
	var left atomic.Int64
	left.Store(int64(n))
	failed := make([]error, len(m.callers))
	var all sync.WaitGroup
	for i, c := range m.callers {
		all.Go(func() { failed[i] = work(ctx, c, m.variant.path, &left) })
	}
	all.Wait()
	for _, err := range failed {
		if err != nil {
			return err // the others are of the same kind
		}
	}
	return nil
}

// work calls until nothing is left.
func work(ctx context.Context, c caller, path string, left *atomic.Int64) error {
	defer context.AfterFunc(ctx, c.close)()
	for left.Add(-1) >= 0 {
		status, size, err := c.call(grantedMethod, path)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		if status != 200 || size != answerSize {
			return fmt.Errorf("answered %d with %d bytes", status, size)
		}
	}
	return nil
}
