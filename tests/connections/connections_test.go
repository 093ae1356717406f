package connections

import "testing"

// TestConnections plays everything that needs a running mesh in one mesh: each
// part begins with a policy of its own.
func TestConnections(t *testing.T) {
	n := start(t, nil, caller, other, store, six, inner)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *network)
	}{
		{"opaque", testOpaque},
		{"metrics", testOpaqueMetrics},
		{"silent", testSilent},
		{"bypass", testBypass},
		{"revoke", testRevoke},
		{"HTTP", testHTTP},
		{"gRPC", testRPC},
		{"WebSocket", testWebSocket},
		{"early bytes", testEarlyBytes},
		{"Redis", testRedis},
		{"PostgreSQL", testPostgres},
		{"plaintext", testPlaintext},
		{"modes", testModes},
		{"update", testUpdate},
		{"many edits", testManyEdits},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, n) })
	}
}
