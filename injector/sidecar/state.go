package sidecar

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
)

// membershipFile of the state folder is what survives a restart: enough to get
// the next certificate, but no key and no certificate.
const membershipFile = "membership.json"

// membership is the form of that file. One file holds both, as a credential
// without the roots to check the server with must not be used.
type membership struct {
	Workload    string `json:"workload"` // namespace/name
	Renewal     string `json:"renewal"`  // secret
	TrustBundle string `json:"trustBundle"`
}

// openState takes the state folder for this process, and makes sure that the
// folder can be written to before a token is spent on what goes into it.
func openState(dir string) (release func(), err error) {
	if err := durable.Dir(dir); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if release, err = durable.Lock(dir); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	probe, err := durable.Stage(filepath.Join(dir, membershipFile), make([]byte, 8<<10))
	if err != nil {
		release()
		return nil, fmt.Errorf("state folder: %w", err)
	}
	probe.Discard()
	return release, nil
}

// loadMembership returns what an earlier run kept; ok is false if there is none.
func loadMembership(dir string) (m ca.Membership, ok bool, err error) {
	path := filepath.Join(dir, membershipFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ca.Membership{}, false, nil
	}
	if err != nil {
		return ca.Membership{}, false, fmt.Errorf("state folder: %w", err)
	}
	var f membership
	err = json.Unmarshal(data, &f)
	m = ca.Membership{Renewal: f.Renewal, TrustBundle: []byte(f.TrustBundle)}
	m.Workload.Namespace, m.Workload.Name, ok = strings.Cut(f.Workload, "/")
	if err != nil || !ok || m.Renewal == "" {
		return ca.Membership{}, false, fmt.Errorf("%s is damaged; remove it and give a new join token", path)
	}
	return m, true, nil
}

func saveMembership(dir string, m ca.Membership) error {
	data, err := json.Marshal(membership{Workload: m.Workload.String(), Renewal: m.Renewal, TrustBundle: string(m.TrustBundle)})
	if err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, membershipFile), data)
}
