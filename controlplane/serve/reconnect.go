package serve

import (
	"context"
	"fmt"

	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"

	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// brought is what a proxy that reconnects says it has: the versions of one type's
// resources, by name. It is sent only what differs and will acknowledge no more
// than that, so nothing else may be waited for.
type brought struct {
	key, typeURL string
	versions     map[string]string
}

func (e brought) apply(ctx context.Context, s *state) error {
	st, ok := s.streams[e.key]
	if !ok {
		return nil
	}
	if st.brought == nil {
		st.brought = map[string]map[string]string{}
	}
	if e.typeURL == xds.FilterType && len(st.brought) == 0 && len(e.versions) == 0 {
		return nil // it is new, and has refused nothing yet
	}
	st.brought[e.typeURL] = e.versions
	if st.current == nil {
		return nil
	}
	if e.typeURL == xds.FilterType {
		if err := s.renew(e.key); err != nil {
			return err
		}
		if err := s.pursue(ctx, e.key); err != nil {
			return err
		}
	}
	if err := st.forgetBrought(); err != nil {
		return err
	}
	return s.advance(ctx, e.key)
}

// forgetBrought gives up waiting for what the proxy has already.
func (st *stream) forgetBrought() error {
	for typeURL, names := range st.waiting {
		for name := range names {
			had, ok := st.brought[typeURL][name]
			if !ok {
				continue
			}
			version, err := st.version(typeURL, name)
			if err != nil {
				return err
			}
			if had == version {
				delete(names, name)
			}
		}
	}
	return nil
}

// version is the hash of a resource's content, as the cache makes it.
func (st *stream) version(typeURL, name string) (string, error) {
	encoded, err := cache.MarshalResource(st.current[typeURL][name])
	if err != nil {
		return "", fmt.Errorf("version of %s %s: %w", shortType(typeURL), name, err)
	}
	return cache.HashResource(encoded), nil
}
