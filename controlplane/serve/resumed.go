package serve

import (
	"context"

	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/protobuf/proto"
)

// resumed is a proxy that opens a stream with what it still has from one before.
// Of that the cache sends nothing again, so no answer will ever speak of it.
type resumed struct {
	key, typeURL string
	// versions are the cache's, by name.
	versions map[string]string
}

func (e resumed) apply(ctx context.Context, s *state) error {
	st, ok := s.streams[e.key]
	if !ok {
		return nil
	}
	st.kept[e.typeURL] = e.versions
	if st.current == nil {
		return nil
	}
	st.recognise()
	return s.advance(ctx, e.key)
}

// recognise stops waiting for what the proxy has brought along as it should be.
func (st *stream) recognise() {
	for typeURL, names := range st.waiting {
		for name := range names {
			if kept := st.kept[typeURL][name]; kept != "" && kept == version(st.current[typeURL][name]) {
				delete(names, name)
			}
		}
	}
}

// version is how the cache names the state of a resource; "" for none.
func version(m proto.Message) string {
	if m == nil {
		return ""
	}
	text, err := cache.MarshalResource(m)
	if err != nil {
		return ""
	}
	return cache.HashResource(text)
}
