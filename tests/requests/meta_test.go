package requests

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

// everything is a policy that holds nothing back from the client.
const everything = `apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: clients, namespace: b}
spec:
  destination: {kind: ServiceAccount, name: server}
  sources:
    - {kind: ServiceAccount, name: client, namespace: a}
  rules:
    - {kind: HTTPRouteGroup, name: everything}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: everything, namespace: b}
spec:
  matches:
    - {name: everything, pathRegex: "/", methods: ["*"]}
`

// judgeFindsWhatPolicyHeld runs what the policy denied again, with everything
// granted: each must now be a failure at every application.
func judgeFindsWhatPolicyHeld(t *testing.T, n *network, shapes []shape) {
	if err := n.edit(everything); err != nil {
		t.Fatal(err)
	}
	var denied []shape
	for _, s := range shapes {
		held := map[way]expectation{}
		for w, want := range s.wants {
			if w != handshake && (want.word == deny || want.word == denyCall) {
				held[w] = want
			}
		}
		if s.wants = held; len(held) > 0 {
			denied = append(denied, s)
		}
	}
	mustAllFail(t, n.hear(t, denied))
}

// judgeFindsWhatSidecarsHeld sends the bytes to the applications themselves.
// They answer everything, so that a judge that can see fails every shape of
// which nothing may arrive.
func judgeFindsWhatSidecarsHeld(t *testing.T, n *network, shapes []shape) {
	var all []hearing
	for _, s := range shapes {
		if want, ok := s.wants[http1]; !ok || want.word == allow || want.word == granted {
			continue
		}
		for _, k := range kinds() {
			if k.h2 {
				continue // it would not even listen
			}
			all = append(all, hearing{shape: s, way: http1, kind: k, id: fmt.Sprintf("s%d", len(all))})
		}
	}
	n.applications.take()
	attend(batches(all), toApplication)
	settle(all, n.applications)
	mustAllFail(t, all)
}

// mustAllFail wants the judge to fail every hearing.
func mustAllFail(t *testing.T, all []hearing) {
	t.Helper()
	for _, h := range all {
		if h.judge() == nil {
			t.Errorf("%s: got %s, and the judge has nothing to say against it", h, h.outcome)
		}
	}
	t.Logf("the judge heard %d that it has to fail", len(all))
	if len(all) < 100 {
		t.Error("they are too few to prove anything")
	}
}

func toApplication(batch []*hearing) {
	h := batch[0] // nothing that goes over HTTP/1 shares a connection
	to := netip.AddrPortFrom(netip.MustParseAddr("127.101.0.2"), h.kind.port)
	conn, err := net.DialTimeout("tcp", to.String(), answerTimeout)
	if err != nil {
		h.outcome = outcome{odd: err}
		return
	}
	defer conn.Close()
	h.outcome = sendText(conn, h.shape.text, h.id, true)
}
