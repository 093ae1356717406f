package ca

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// Many sidecars may share an address (one machine, one NAT), and all of them
	// come back at once after an outage; hence the burst. They retry when refused.
	burst         = 100
	perSecond     = 20
	maxCallers    = 4096
	forgetCallers = burst / perSecond * time.Second // by then a bucket is full again
)

// limiter gives every remote address a bucket of requests. It forgets whoever
// has a full one, and knows a bounded number: its memory cannot be filled.
type limiter struct {
	mu      sync.Mutex
	callers map[netip.Addr]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// allow takes one request from the bucket of the address.
func (l *limiter) allow(from netip.Addr, now time.Time) bool {
	from = from.Unmap().WithZone("")
	if from.Is6() {
		// One customer usually has a whole /64.
		prefix, _ := from.Prefix(64)
		from = prefix.Addr()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.callers[from]
	if !known {
		if len(l.callers) >= maxCallers && !l.forget(now) {
			return false
		}
		b = bucket{left: burst, at: now}
	}
	b.left = min(burst, b.left+max(0, now.Sub(b.at).Seconds())*perSecond)
	b.at = now
	allowed := b.left >= 1
	if allowed {
		b.left--
	}
	if l.callers == nil {
		l.callers = map[netip.Addr]bucket{}
	}
	l.callers[from] = b
	return allowed
}

// forget drops the callers that have been quiet, and reports whether that made room.
func (l *limiter) forget(now time.Time) bool {
	for from, b := range l.callers {
		if now.Sub(b.at) > forgetCallers {
			delete(l.callers, from)
		}
	}
	return len(l.callers) < maxCallers
}
