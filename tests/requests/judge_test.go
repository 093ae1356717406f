package requests

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// expectation is what must become of a shape.
type expectation struct {
	word string
	// target is what arrives, where something must.
	target string
	status int
}

// The words. Whatever is wanted, nothing that arrives may be forbidden.
const (
	// allow: the request arrives once, with this target, and is answered.
	allow = "allow"
	// deny: nothing arrives, and the answer is the policy's 403.
	deny = "deny"
	// status: nothing arrives, and this is the answer, a sidecar's own if it is
	// 403. In the corpus "reject" is 400, and any other a number.
	status = "status"
	// denyCall: nothing arrives, and gRPC's answer is PERMISSION_DENIED.
	denyCall = "grpc-deny"
	// reset: nothing arrives, and the stream or the connection ends unanswered.
	reset = "reset"
	// refused: nothing arrives, and nothing says that it did.
	refused = "refused"
	// granted: what arrives, if anything does, is granted.
	granted = "granted"
)

const (
	// denial is the body of the policy's own 403.
	denial = "access denied\n"
	// grpcDenied is PERMISSION_DENIED.
	grpcDenied = "7"
)

func parseExpectation(s string) (expectation, error) {
	word, rest, _ := strings.Cut(s, " ")
	switch {
	case s == "reject":
		return rejected(), nil
	case s == deny || s == denyCall || s == reset || s == refused || s == granted:
		return expectation{word: s}, nil
	case word == allow && strings.HasPrefix(rest, "/"):
		target, err := unescaped(rest)
		return expectation{word: allow, target: target}, err
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 300 {
		return expectation{}, fmt.Errorf("%q is none of allow /target, deny, reject, grpc-deny, reset, refused, granted and a status", s)
	}
	return expectation{word: status, status: n}, nil
}

// hearing is a shape that went one way to one application, and what came of it.
type hearing struct {
	shape   shape
	way     way
	kind    kind
	id      string
	outcome outcome
	// honest is what became of an honest request right after it; nil: none was
	// sent.
	honest *outcome
	seen   []arrival
}

func (h hearing) String() string {
	return fmt.Sprintf("%s: %s %q over %s to %s", h.shape.at, h.shape.family, h.shape.name, h.way, h.kind.name)
}

// judge returns what is wrong: first what arrived and is not granted, whatever
// was wanted, then what differs from what was wanted.
func (h hearing) judge() error {
	var failures []error
	for _, a := range h.seen {
		if err := a.forbidden(); err != nil {
			failures = append(failures, fmt.Errorf("a hole: %w", err))
		}
	}
	for _, a := range h.outcome.answers {
		if a.id != "" && a.id != h.id {
			failures = append(failures, fmt.Errorf("it got the answer to another request, %s", a.id))
		}
	}
	if err := h.expected(); err != nil {
		failures = append(failures, err)
	}
	if h.honest != nil && !h.honest.served(h.id+honestMark) {
		failures = append(failures, fmt.Errorf("an honest request right after it got %s", h.honest))
	}
	if len(failures) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w", h, errors.Join(failures...))
}

// forbidden says why the policy does not grant what has arrived.
func (a arrival) forbidden() error {
	resource := a.kind.read(a.target)
	switch {
	case a.fault != "":
		return fmt.Errorf("%s received what no proxy may send: %s", a.kind.name, a.fault)
	case !isPublic(resource):
		return fmt.Errorf("%s serves %q for the target %q", a.kind.name, resource, a.target)
	case a.method != http.MethodGet:
		return fmt.Errorf("%s received method %q", a.kind.name, a.method)
	case len(a.roles) == 0 || slices.ContainsFunc(a.roles, func(r string) bool { return r != "user" }):
		return fmt.Errorf("%s received the roles %q", a.kind.name, a.roles)
	}
	return nil
}

// expected compares with what was wanted.
func (h hearing) expected() error {
	o, want := h.outcome, h.shape.wants[h.way]
	if o.odd != nil {
		return fmt.Errorf("the answer cannot be read: %w", o.odd)
	}
	if len(o.answers) == 0 && !o.ended {
		return errors.New("there was no answer, and the connection stayed open")
	}
	if want.word == granted {
		return nil
	}
	if want.word == allow {
		if len(h.seen) != 1 || h.seen[0].target != want.target || !o.served(h.id) {
			return fmt.Errorf("the answer is %s and %d arrived: %s; want one %q", o, len(h.seen), targets(h.seen), want.target)
		}
		return nil
	}
	if len(h.seen) > 0 {
		return fmt.Errorf("%d arrived: %s; want none", len(h.seen), targets(h.seen))
	}
	if !want.fits(o) {
		return fmt.Errorf("the answer is %s; want %s", o, want)
	}
	return nil
}

// fits compares the answers to a shape of which nothing may arrive. Every answer
// after the first is to something hidden behind it, and a refusal too.
func (e expectation) fits(o outcome) bool {
	for i, a := range o.answers {
		if a.status < 300 && a.grpc != grpcDenied {
			return false
		}
		if i == 0 && !e.isFirst(a) {
			return false
		}
	}
	return (len(o.answers) == 0) == (e.word == reset) || e.word == refused
}

// isFirst reports whether a is the first answer that is wanted.
func (e expectation) isFirst(a answer) bool {
	switch e.word {
	case deny:
		return a.status == http.StatusForbidden && a.length == len(denial)
	case denyCall:
		return a.grpc == grpcDenied
	case status:
		return a.status == e.status && (e.status != http.StatusForbidden || a.length != len(denial))
	}
	return true
}

func (e expectation) String() string {
	if e.word == status {
		return strconv.Itoa(e.status)
	}
	return e.word
}

// served reports whether exactly one answer came, from an application, to the
// request of that id.
func (o outcome) served(id string) bool {
	return o.odd == nil && len(o.answers) == 1 && o.answers[0].status == http.StatusOK && o.answers[0].id == id
}

func targets(all []arrival) string {
	var out []string
	for _, a := range all {
		out = append(out, fmt.Sprintf("%s %.200q %s", a.method, a.target, a.fault))
	}
	return strings.Join(out, "; ")
}
