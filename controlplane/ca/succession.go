package ca

import (
	"crypto/x509"
	"slices"
	"time"
)

// settleTime is how long a new root of the authority above is trusted before it
// signs: by then every replica has seen it, and every sidecar has asked.
const settleTime = 5 * time.Minute

// succession is how one root of the authority above is followed by another, which
// it may replace from one moment to the next. The three steps are made here: both
// are trusted, then the new one signs, then the old one goes. It is kept in memory
// only: a control plane that starts takes what it finds.
type succession struct {
	// next is the root that will sign, since when it is trusted.
	next  *x509.Certificate
	since time.Time
	// former are roots that the authority does not name any more.
	former []former
}

// former is trusted until the last leaf that leads to it has ended.
type former struct {
	root  *x509.Certificate
	until time.Time
}

// adopt returns what signs and is trusted now that the authority above says next;
// before is nil at the start.
func (s *succession) adopt(before, next *roots, now time.Time, leafLifetime time.Duration) *roots {
	if before == nil {
		return next
	}
	out, e := *next, *next.external
	if !e.anchor.Equal(before.external.anchor) {
		if s.next == nil || !s.next.Equal(e.anchor) {
			s.next, s.since = e.anchor, now
		}
		if now.Before(s.since.Add(settleTime)) && now.Before(before.signer.NotAfter) {
			out.signer, out.key = before.signer, before.key
			e.anchor, e.chain = before.external.anchor, before.external.chain
		}
	} else {
		s.next = nil
	}
	s.remember(before, next, now.Add(settleTime+leafLifetime))
	s.former = slices.DeleteFunc(s.former, func(f former) bool { return !now.Before(f.until) || has(next.external.anchors, f.root) })
	e.anchors = slices.Clone(next.external.anchors)
	for _, f := range s.former {
		if len(e.anchors) < maxEarlier { // more than sidecars tell of
			e.anchors = append(e.anchors, f.root)
		}
	}
	out.external = &e
	return &out
}

// remember keeps the roots that are not named any more, the latest first.
func (s *succession) remember(before, next *roots, until time.Time) {
	for _, root := range before.external.anchors {
		known := slices.ContainsFunc(s.former, func(f former) bool { return f.root.Equal(root) })
		if !known && !has(next.external.anchors, root) {
			s.former = append([]former{{root, until}}, s.former...)
		}
	}
}

func has(roots []*x509.Certificate, one *x509.Certificate) bool {
	return slices.ContainsFunc(roots, one.Equal)
}
