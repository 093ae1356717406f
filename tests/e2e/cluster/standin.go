package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wasmesh/wasmesh/tests/e2e/network"
)

// As writes a kubeconfig by which a program is a service account, with that one's
// rights only.
func (c *Cluster) As(ctx context.Context, namespace, account, file string) error {
	token, err := c.Kubectl(ctx, "", "create", "token", account, "-n", namespace)
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
		"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority":%q}}],
		"users":[{"name":"u","user":{"token":%q}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}`,
		Server, filepath.Join(filepath.Dir(c.Kubeconfig), "ca.crt"), strings.TrimSpace(token))
	return os.WriteFile(file, []byte(text), 0o600)
}

// StandIn has a program of the node answer for the webhook of a Service, where no
// pods run. It returns the name of the EndpointSlice that says so.
func (c *Cluster) StandIn(ctx context.Context, namespace, service string, port int) (slice string, err error) {
	slice = service + "-here"
	_, err = c.Kubectl(ctx, fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %s, namespace: %s, labels: {kubernetes.io/service-name: %s}}
addressType: IPv4
ports: [{name: https-webhook, port: %d, protocol: TCP}]
endpoints: [{addresses: [%s], conditions: {ready: true}}]
`, slice, namespace, service, port, network.NodeIP), "apply", "-f", "-")
	return slice, err
}
