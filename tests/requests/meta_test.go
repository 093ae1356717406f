package requests

import (
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

// judgeFindsWhatPolicyHeld runs the corpus again with everything granted: each
// shape that the policy denied must now be a failure at every application.
func judgeFindsWhatPolicyHeld(t *testing.T, n *network, shapes []shape) {
	if err := n.edit(everything); err != nil {
		t.Fatal(err)
	}
	denied, found := 0, 0
	for _, h := range n.hear(t, shapes) {
		want := h.shape.wants[h.way]
		if h.way == handshake || want.word != denyCall && want.status != 403 {
			continue
		}
		denied++
		if h.judge() != nil {
			found++
		} else {
			t.Errorf("%s: got %s, and the judge has nothing to say against it", h, h.outcome)
		}
	}
	t.Logf("with everything granted, the judge fails %d of %d", found, denied)
	if denied < 100 {
		t.Errorf("only %d shapes were held by the policy: that proves little", denied)
	}
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
			all = append(all, hearing{shape: s, way: http1, kind: k, id: "none"})
		}
	}
	n.applications.take()
	found := 0
	for i := range all {
		h := &all[i]
		h.outcome = toApplication(h)
		h.seen = n.applications.take()[h.id]
		if h.judge() != nil {
			found++
		} else {
			t.Errorf("%s: got %s, and the judge has nothing to say against it", h, h.outcome)
		}
	}
	t.Logf("without a mesh, the judge fails %d of %d", found, len(all))
	if found < 100 {
		t.Errorf("only %d shapes failed: that proves little", found)
	}
}

func toApplication(h *hearing) outcome {
	to := netip.AddrPortFrom(netip.MustParseAddr("127.101.0.2"), h.kind.port)
	conn, err := net.DialTimeout("tcp", to.String(), answerTimeout)
	if err != nil {
		return outcome{odd: err}
	}
	defer conn.Close()
	return sendText(conn, h.shape.text, h.id, true)
}
