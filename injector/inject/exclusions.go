package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/injector/redirect"
)

// exclusions are the lists as the annotations have them, by flag.
type exclusions []exclusion

type exclusion struct{ annotation, flag, text string }

// exclusionsOf reads the annotations. One that wasmesh-redirect would not take is
// an error here, where somebody can read it.
func exclusionsOf(pod *corev1.Pod) (exclusions, error) {
	var out exclusions
	for _, known := range []struct {
		name  string
		check func(string) error
	}{
		{"exclude-inbound-ports", func(t string) error { _, err := redirect.ParsePorts(t); return err }},
		{"exclude-outbound-ports", func(t string) error { _, err := redirect.ParsePorts(t); return err }},
		{"exclude-outbound-cidrs", func(t string) error { _, err := redirect.ParseCIDRs(t); return err }},
		{"exclude-uids", func(t string) error { _, err := redirect.ParseUIDs(t); return err }},
	} {
		annotation := "wasmesh.io/" + known.name
		text := pod.Annotations[annotation]
		if text == "" {
			continue
		}
		if err := known.check(text); err != nil {
			return nil, fmt.Errorf("annotation %s: %w", annotation, err)
		}
		out = append(out, exclusion{annotation, "--" + known.name, text})
	}
	return out, nil
}

func (e exclusions) args() []string {
	var out []string
	for _, x := range e {
		out = append(out, x.flag+"="+x.text)
	}
	return out
}

// notes: no policy holds where the sidecar does not see a connection.
func (e exclusions) notes() []string {
	var out []string
	for _, x := range e {
		out = append(out, fmt.Sprintf("%s %s: no policy holds there", x.annotation, clip(x.text)))
	}
	return out
}
