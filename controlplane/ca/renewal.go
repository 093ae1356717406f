package ca

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// maxCredentials is how many credentials of one workload are good at a time:
// the one last used and those handed out since. More than one is handed out
// when answers get lost.
const maxCredentials = 4

// credentialFile is what a workload's file holds: the hashes of its credentials,
// the oldest first.
type credentialFile struct {
	Hashes []string `json:"renewalSHA256"`
	// LeafEnds is when the last of the leaves that came with them ends.
	LeafEnds time.Time `json:"leafEnds"`
}

// rotate returns the credentials that are good after the one at used was used
// and a new one was handed out. Using one ends those before it. The one used
// stays good, and so do those handed out after it: the workload may never have
// received the newest, or an older answer may have overtaken it.
func (c credentialFile) rotate(used int, fresh string) credentialFile {
	kept := append([]string{}, c.Hashes[used:]...)
	if len(kept) >= maxCredentials {
		kept = append(kept[:1], kept[len(kept)-maxCredentials+2:]...)
	}
	return credentialFile{Hashes: append(kept, fresh), LeafEnds: c.LeafEnds}
}

// find compares with all of them, so that the time says nothing about which.
func (c credentialFile) find(renewal string) (int, bool) {
	found, ok := 0, false
	for i, hash := range c.Hashes {
		if matches(renewal, hash) {
			found, ok = i, true
		}
	}
	return found, ok
}

// Renew trades a workload's renewal credential for the next one. The old one
// stays good until the new one is used, so that a lost answer locks nobody out.
// admit is asked when the credential has proved good; its error leaves
// everything as it was. A credential that is revoked meanwhile stays revoked.
func (a *Authority) Renew(workload mesh.Name, renewal string, admit func() error) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, used, err := a.prove(workload, renewal)
	if err != nil {
		return "", err
	}
	if err := admit(); err != nil {
		return "", err
	}
	next := newSecret()
	rotated := f.rotate(used, hashOf(next))
	rotated.LeafEnds = a.now().Add(a.leafLifetime).UTC()
	staged, err := stageCredential(a.credentialPath(workload), rotated)
	if err != nil {
		return "", err
	}
	switch err := staged.Update(); {
	case errors.Is(err, fs.ErrNotExist):
		return "", refuse("workload %s was revoked a moment ago", workload)
	case err != nil:
		return "", fmt.Errorf("renewal credential of %s: %w", workload, err)
	}
	return next, nil
}

// proved is nil if the credential is one of the workload's. It is not spent.
func (a *Authority) proved(workload mesh.Name, renewal string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, _, err := a.prove(workload, renewal)
	return err
}

// prove finds the credential that a caller has among those of the workload; a.mu
// is held.
func (a *Authority) prove(workload mesh.Name, renewal string) (f credentialFile, used int, err error) {
	if _, err := Label(workload, KindWorkload); err != nil || !isSecret(renewal) {
		return f, 0, refuse("malformed renewal")
	}
	path := a.credentialPath(workload)
	f, err = readCredential(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, 0, refuse("workload %s has no renewal credential (it never joined, or was revoked)", workload)
	}
	if err != nil {
		return f, 0, fmt.Errorf("renewal credential of %s: %w; if it is damaged, remove %s and create a new token", workload, err, path)
	}
	used, ok := f.find(renewal)
	if !ok {
		return f, 0, refuse("renewal credential of %s is wrong or was replaced", workload)
	}
	return f, used, nil
}

func readCredential(path string) (credentialFile, error) {
	var f credentialFile
	data, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, err
	}
	if len(f.Hashes) > maxCredentials {
		return f, fmt.Errorf("%d credentials are more than %d", len(f.Hashes), maxCredentials)
	}
	return f, nil
}

// Revoke ends a workload's renewal credential: its certificate runs out and is
// not renewed. It reports whether there was one.
func (a *Authority) Revoke(workload mesh.Name) (bool, error) {
	if _, err := Label(workload, KindWorkload); err != nil {
		return false, err
	}
	err := durable.Remove(a.credentialPath(workload))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func stageCredential(path string, f credentialFile) (*durable.Staged, error) {
	data, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	return durable.Stage(path, data)
}

// credentialPath is only called with names that Label accepted: they contain
// neither a slash nor an underscore, and fit a file name.
func (a *Authority) credentialPath(workload mesh.Name) string {
	return filepath.Join(a.dir, "workloads", workload.Namespace+"_"+workload.Name+".json")
}
