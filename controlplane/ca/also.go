package ca

import (
	"fmt"
	"os"
)

// alsoTrust returns r with the roots of a file that members are to trust besides:
// the root by which this mesh will be signed, or was. They sign nothing here.
func (r *roots) alsoTrust(path string) (*roots, error) {
	if path == "" {
		return r, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("further roots: %w", err)
	}
	also, err := parseBundle(data)
	if err != nil {
		return nil, fmt.Errorf("further roots: %s: %w", path, err)
	}
	for _, root := range also {
		if !root.BasicConstraintsValid || !root.IsCA {
			return nil, fmt.Errorf("further roots: %s: %q is not the certificate of an authority", path, root.Subject.CommonName)
		}
	}
	out := *r
	out.also = also
	if n := len(out.trusted()); n > maxEarlier {
		return nil, fmt.Errorf("further roots: with those in %s there are %d, and %d at most can be trusted at a time", path, n, maxEarlier)
	}
	return &out, nil
}
