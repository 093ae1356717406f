package scenarios

import (
	"context"
	"fmt"
)

// watched is a request that is asked while an edit takes effect, with what the
// policy before and the one after say of it.
type watched struct {
	call
	before, after bool
}

// watch asks the requests of both steps over and over until the function it
// returns is called. That one fails with every answer that neither policy gives:
// no window may be wider than the two together (smi-rules 33), and what both
// allow must never be refused.
func (h *house) watch(ctx context.Context, s stage) (end func() error, err error) {
	calls, err := watchedIn(ctx, s)
	if err != nil {
		return nil, err
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			for _, c := range calls {
				if err := h.poll(ctx, c); err != nil {
					done <- fmt.Errorf("while the policy was edited: %s: %w\n\t%s", c.at, err, c.text)
					return
				}
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	return func() error {
		close(stop)
		return <-done
	}, nil
}

// watchedIn returns the requests of a step and of the one before it.
func watchedIn(ctx context.Context, s stage) ([]watched, error) {
	var old, edited native
	if err := old.begin(ctx, *s.before); err != nil {
		return nil, err
	}
	if err := edited.begin(ctx, s); err != nil {
		return nil, err
	}
	var out []watched
	for _, step := range []stage{*s.before, s} {
		calls, err := callsOf(step)
		if err != nil {
			return nil, err
		}
		for _, c := range calls {
			if c.outside() {
				continue
			}
			first, _ := old.ask(ctx, c)
			then, _ := edited.ask(ctx, c)
			out = append(out, watched{c, first.passes(), then.passes()})
		}
	}
	return out, nil
}

func (h *house) poll(ctx context.Context, c watched) error {
	h.polls++
	id := h.nextID()
	answer, err := h.travel(ctx, c.call, throughSidecar, id)
	switch {
	case err != nil && c.before && !c.after:
		// The edit ended it while it was open: it had lost its right.
		h.ended = append(h.ended, id)
	case err != nil:
		return err
	case answer == allow && !c.before && !c.after:
		return fmt.Errorf("it passed, and neither the policy before the edit nor the one after it allows that")
	case answer != allow && c.before && c.after:
		return fmt.Errorf("it was refused (%s), and both the policy before the edit and the one after it allow it", answer)
	}
	return nil
}
