package policy

import "errors"

// Mode says what becomes of what the policy of a destination does not allow. It
// lets a team adopt the mesh first and enforce afterwards.
type Mode byte

// The modes. The zero Mode enforces.
const (
	// Enforce refuses it.
	Enforce Mode = iota
	// Audit lets it pass and counts it as what would be refused.
	Audit
	// Permissive lets it pass and does not count it: the policy is not meant to
	// say anything yet.
	Permissive
)

// ParseMode reads a mode's name; false: there is none of that name.
func ParseMode(name string) (Mode, bool) {
	for m := Enforce; m <= Permissive; m++ {
		if m.String() == name {
			return m, true
		}
	}
	return Enforce, false
}

// String returns the mode's name in manifests and flags.
func (m Mode) String() string {
	switch m {
	case Audit:
		return "audit"
	case Permissive:
		return "permissive"
	}
	return "enforce"
}

// MarshalText returns the mode's name.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a mode's name; an unknown one is an error that lists them.
func (m *Mode) UnmarshalText(name []byte) error {
	mode, ok := ParseMode(string(name))
	if !ok {
		return errors.New("there are the modes enforce, audit and permissive")
	}
	*m = mode
	return nil
}

// InForce returns what is carried out where v was decided. A request that cannot
// be read in one way and a certificate that ended are refused under every mode:
// no policy could allow them. An allowed verdict with a Reason is one that
// Enforce would refuse for it.
func (m Mode) InForce(v Verdict) Verdict {
	if v.Allow || !v.Reason.ofPolicy() {
		return v
	}
	switch m {
	case Audit:
		return Verdict{Allow: true, Reason: v.Reason}
	case Permissive:
		return Verdict{Allow: true}
	}
	return v
}

// ofPolicy reports whether other grants could have led to another verdict.
func (r Reason) ofPolicy() bool {
	switch r {
	case ReasonSource, ReasonPort, ReasonPath, ReasonMethod, ReasonHeader, ReasonPolicy:
		return true
	}
	return false
}
