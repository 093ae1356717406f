package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// manifests is a copy of the example's folder that is edited as an editor would:
// each file is replaced as a whole.
type manifests struct {
	dir string
	// access is access.yaml as the example has it, withoutTargets the same
	// without its TrafficTargets.
	access, withoutTargets []byte
	split                  []byte
}

func copyManifests(from, to string) (*manifests, error) {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(from, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s has no manifests; run this where examples/bookstore is, or set -source", from)
	}
	m := &manifests{dir: to}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		switch filepath.Base(file) {
		case "access.yaml":
			m.access, m.withoutTargets = text, dropKind(text, "TrafficTarget")
		case "split.yaml":
			m.split = text
		}
		if _, err := m.replace(filepath.Base(file), text); err != nil {
			return nil, err
		}
	}
	if bytes.Equal(m.access, m.withoutTargets) {
		return nil, fmt.Errorf("%s/access.yaml has no TrafficTarget; this check needs one to take away", from)
	}
	return m, nil
}

// dropKind returns a manifest file without the documents of one kind.
func dropKind(text []byte, kind string) []byte {
	var kept []string
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		if !strings.Contains("\n"+doc+"\n", "\nkind: "+kind+"\n") {
			kept = append(kept, doc)
		}
	}
	return []byte(strings.Join(kept, "\n---\n"))
}

// replace writes a file beside its place and moves it there. It returns the
// moment after which the new content is what a reader finds.
func (m *manifests) replace(name string, text []byte) (time.Time, error) {
	staged := filepath.Join(m.dir, "."+name+".new")
	if err := os.WriteFile(staged, text, 0o600); err != nil {
		return time.Time{}, err
	}
	// The clock is read first: an effect must not seem to precede its cause.
	now := time.Now()
	return now, os.Rename(staged, filepath.Join(m.dir, name))
}

func (m *manifests) writePolicy() (time.Time, error) { return m.replace("access.yaml", m.access) }

func (m *manifests) removePolicy() (time.Time, error) {
	return m.replace("access.yaml", m.withoutTargets)
}

// writeSplit sets the weights of the two versions.
func (m *manifests) writeSplit(one, two int) error {
	text, err := withWeights(m.split, one, two)
	if err != nil {
		return err
	}
	_, err = m.replace("split.yaml", text)
	return err
}

// withWeights replaces the weights of bookstore-v1 and bookstore-v2, by the line
// that follows each.
func withWeights(text []byte, one, two int) ([]byte, error) {
	weights := map[string]int{"bookstore-v1": one, "bookstore-v2": two}
	lines := strings.Split(string(text), "\n")
	replaced := 0
	for i := 1; i < len(lines); i++ {
		before, _, found := strings.Cut(lines[i], "weight: ")
		if !found {
			continue
		}
		for service, weight := range weights {
			if strings.HasSuffix(strings.TrimSpace(lines[i-1]), "service: "+service) {
				lines[i] = fmt.Sprintf("%sweight: %d", before, weight)
				replaced++
			}
		}
	}
	if replaced != len(weights) {
		return nil, fmt.Errorf("split.yaml has weights for %d of %d backends in the expected form", replaced, len(weights))
	}
	return []byte(strings.Join(lines, "\n")), nil
}
