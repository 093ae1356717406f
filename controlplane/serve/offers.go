package serve

import (
	"context"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/xds"
)

const (
	// firstOffer is long enough to fetch a small module from near by, lastOffer
	// short enough to heal within a minute of the cause.
	firstOffer = 200 * time.Millisecond
	lastOffer  = time.Minute
)

// offer is a filter that a proxy refused, or may have: what refused it can pass,
// such as a file that was not there yet. Envoy does not look at the same content
// twice, so each offer has another number in it.
type offer struct {
	of     proto.Message
	number int
	// times it was refused, and when it is offered next; zero while it is under
	// way or accepted.
	times int
	due   time.Time
}

// pauseAfter doubles with each refusal.
func pauseAfter(times int) time.Duration {
	pause := firstOffer
	for range times - 1 {
		if pause = 2 * pause; pause >= lastOffer {
			return lastOffer
		}
	}
	return pause
}

// refuse plans the next offer of filters that were refused.
func (s *state) refuse(st *stream, names []string, at time.Time) {
	for _, name := range names {
		m, wanted := st.desired[xds.FilterType][name]
		if !wanted {
			continue
		}
		o, known := st.offers[name]
		if !known {
			o = offer{of: m}
		}
		o.times++
		o.due = at.Add(pauseAfter(o.times))
		st.keepOffer(name, o)
		if s.soonest.IsZero() || o.due.Before(s.soonest) {
			s.soonest = o.due
		}
	}
}

// settleOffers ends the offers of what was accepted. The number stays: without
// it the content would be another.
func (st *stream) settleOffers(names []string) {
	for _, name := range names {
		if o, ok := st.offers[name]; ok {
			o.due = time.Time{}
			st.offers[name] = o
		}
	}
}

func (st *stream) keepOffer(name string, o offer) {
	if st.offers == nil {
		st.offers = map[string]offer{}
	}
	st.offers[name] = o
}

// number puts the numbers of offers into what is desired. What has become
// another filter is no longer what was refused.
func (st *stream) number() {
	if len(st.offers) == 0 {
		return
	}
	filters := maps.Clone(st.desired[xds.FilterType])
	for name, o := range st.offers {
		if m, wanted := filters[name]; wanted && proto.Equal(m, o.of) {
			filters[name] = xds.Offered(m, o.number)
		} else {
			delete(st.offers, name)
		}
	}
	st.desired = maps.Clone(st.desired)
	st.desired[xds.FilterType] = filters
}

// offersDue is the time for offers.
type offersDue struct{ at time.Time }

func (e offersDue) apply(ctx context.Context, s *state) error {
	s.soonest = time.Time{}
	for _, key := range slices.Sorted(maps.Keys(s.streams)) {
		st := s.streams[key]
		again := false
		for name, o := range st.offers {
			switch {
			case o.due.IsZero():
			case o.due.After(e.at):
				if s.soonest.IsZero() || o.due.Before(s.soonest) {
					s.soonest = o.due
				}
			default:
				o.number, o.due, again = o.number+1, time.Time{}, true
				st.offers[name] = o
			}
		}
		if again {
			s.aim(key)
			if err := s.pursue(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// renew numbers the filters that a proxy which comes back does not have as they
// are to be: it may have refused just this content, from this control plane or
// another, and would then acknowledge it without looking.
func (s *state) renew(key string) error {
	st := s.streams[key]
	for name, m := range st.desired[xds.FilterType] {
		version, err := st.version(xds.FilterType, name)
		if err != nil {
			return err
		}
		if _, known := st.offers[name]; !known && st.brought[xds.FilterType][name] != version {
			st.keepOffer(name, offer{of: m, number: int(st.since.UnixMilli() % xds.Offers)})
		}
	}
	s.aim(key)
	return nil
}
