package ca

import (
	"errors"
	"fmt"
	"time"
)

const (
	// MaxSkew is how far the clock of a workload's machine may be from the control
	// plane's, ahead or behind.
	MaxSkew = 5 * time.Minute
	// backdate is for clocks that are behind ours: what we certify is valid for
	// them at once. The minute is for the way, and for what rounding takes.
	backdate = MaxSkew + time.Minute
)

// ErrClock is wrapped when the clocks of this machine and of the control plane
// are too far apart. It ends when one of them is set.
var ErrClock = errors.New("the clock of this machine and that of the control plane are too far apart")

// Tolerated is the skew that leaves of a lifetime bear. A machine whose clock is
// ahead sees its peers' leaves end that much earlier; as they are renewed after
// half of their life, two fifths are left to it.
func Tolerated(lifetime time.Duration) time.Duration {
	return min(MaxSkew, lifetime*2/5)
}

// describeSkew says how a clock differs from the control plane's; it is ahead if
// skew is positive.
func describeSkew(skew time.Duration) string {
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return fmt.Sprintf("%v %s the control plane's", skew.Abs().Round(time.Second), direction)
}

// checkSkew returns what to tell a caller whose clock says then, if that is too
// far from now for leaves of the lifetime. A caller that does not tell is let be.
func checkSkew(then, now time.Time, lifetime time.Duration) error {
	skew, tolerated := then.Sub(now), Tolerated(lifetime)
	if then.IsZero() || skew.Abs() <= tolerated {
		return nil
	}
	return fmt.Errorf("your clock is %s, and up to %v is tolerated; set it (NTP does) and try again", describeSkew(skew), tolerated)
}
