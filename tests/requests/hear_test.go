package requests

import (
	"errors"
	"net"
)

// batchSize is how many of the brief shapes share a connection of HTTP/2.
const batchSize = 64

// batches puts brief shapes that go the same way over HTTP/2 to the same
// application together: handshakes would take most of the time. All others get a
// connection of their own.
func batches(all []hearing) [][]*hearing {
	type line struct {
		way  way
		port uint16
	}
	open := map[line][]*hearing{}
	var out [][]*hearing
	for i := range all {
		h := &all[i]
		if !h.shape.brief || h.way == http1 {
			out = append(out, []*hearing{h})
			continue
		}
		l := line{h.way, h.kind.port}
		if open[l] = append(open[l], h); len(open[l]) == batchSize {
			out = append(out, open[l])
			delete(open, l)
		}
	}
	for _, rest := range open {
		out = append(out, rest)
	}
	return out
}

// attend sends a batch. Where it is one shape that somebody wrote down, an
// honest request follows, which must not suffer.
func (n *network) attend(batch []*hearing) {
	if len(batch) > 1 {
		n.attendTogether(batch)
		return
	}
	h := batch[0]
	h.outcome = n.send(h.way, h.kind, h.shape, h.id)
	if h.shape.brief || h.way == handshake {
		return
	}
	o := n.send(h.way, h.kind, everyWay("honest", "/public", expectation{}), h.id+honestMark)
	h.honest = &o
}

// attendTogether sends each shape of a batch on a stream of its own.
func (n *network) attendTogether(batch []*hearing) {
	var frames []frame
	for i, h := range batch {
		f := h.shape.frames[0].withID(h.id)
		f.stream = uint32(2*i + 1)
		frames = append(frames, f)
	}
	o := n.converse(batch[0].way, batch[0].kind, credentials{}, func(conn net.Conn) outcome {
		return sendFrames(conn, frames, "", len(batch))
	})
	for _, h := range batch {
		h.outcome = outcome{ended: o.ended, odd: o.odd}
	}
	for _, a := range o.answers {
		if i := int(a.stream-1) / 2; i < len(batch) {
			batch[i].outcome.answers = append(batch[i].outcome.answers, a)
		}
	}
}

// send sends one shape.
func (n *network) send(w way, k kind, s shape, id string) outcome {
	var c credentials
	frames, granted := s.frames, everyWay("granted", "/public", expectation{})
	if w == handshake {
		var err error
		if c, err = credentialsFor(s.credentials); err != nil {
			return outcome{odd: err}
		}
		frames = granted.frames
	}
	return n.converse(w, k, c, func(conn net.Conn) outcome {
		switch {
		case w == http1:
			return sendText(conn, s.text, id, s.brief)
		case c.text:
			return sendText(conn, granted.text, id, false)
		}
		enough := 0
		if s.brief {
			enough = 1
		}
		return sendFrames(conn, frames, id, enough)
	})
}

// converse opens a connection for one exchange.
func (n *network) converse(w way, k kind, c credentials, exchange func(net.Conn) outcome) outcome {
	conn, err := n.dial(w, k.port, c)
	if errors.Is(err, errEnded) {
		return outcome{ended: true}
	} else if err != nil {
		return outcome{odd: err}
	}
	defer conn.Close()
	return exchange(conn)
}
