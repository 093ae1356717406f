package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tools says where the programs of Kubernetes and of what runs in it are.
type Tools struct {
	Etcd, APIServer, ControllerManager, Scheduler, Kubectl, Helm string
	// CertManager is its controller, and CertManagerCRDs are manifests.
	CertManager, CertManagerCRDs string
}

// FindTools looks for the programs in a folder that tests/e2e/tools/build filled,
// or in one that has them side by side.
func FindTools(folder string) (Tools, error) {
	var t Tools
	for name, at := range map[string]*string{
		"etcd": &t.Etcd, "kube-apiserver": &t.APIServer, "kube-controller-manager": &t.ControllerManager,
		"kube-scheduler": &t.Scheduler, "kubectl": &t.Kubectl, "helm": &t.Helm,
		"cert-manager": &t.CertManager, "cert-manager-crds.yaml": &t.CertManagerCRDs,
	} {
		found, err := filepath.Glob(filepath.Join(folder, "*", name))
		if err != nil {
			return t, err
		}
		if flat := filepath.Join(folder, name); len(found) == 0 {
			if _, err := os.Stat(flat); err != nil {
				return t, fmt.Errorf("no %s in %s: run `make e2e`, or tests/e2e/tools/build %s", name, folder, folder)
			}
			found = []string{flat}
		}
		if len(found) > 1 {
			return t, fmt.Errorf("several versions of %s: %s: delete the folders of those that are no longer pinned", name, strings.Join(found, ", "))
		}
		*at = found[0]
	}
	return t, nil
}

// Kubectl runs kubectl as the administrator and returns what it prints.
func (c *Cluster) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	return c.run(ctx, c.Tools.Kubectl, stdin, args...)
}

// Helm runs helm as the administrator and returns what it prints.
func (c *Cluster) Helm(ctx context.Context, args ...string) (string, error) {
	return c.run(ctx, c.Tools.Helm, "", args...)
}

func (c *Cluster) run(ctx context.Context, program, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out, failure bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &failure
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "HOME="+filepath.Join(Home, "home"))
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, failure.String())
	}
	return out.String(), nil
}
