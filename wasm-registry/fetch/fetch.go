// Package fetch brings the modules that a sidecar's configuration names into a
// folder, from any control plane of the mesh.
//
// What it writes was verified against its digest. It must never trust what it
// finds in the folder without reading it, never remove the last module that
// served, and never hold a module in memory: it runs beside every workload.
package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

const (
	// maxModule is more than any module that a control plane admits, in bytes.
	maxModule = 64 << 20
	maxList   = 64 << 10
	// listPath, bytesPath and waitHeader are those of the server.
	listPath   = "/modules/"
	bytesPath  = "/modules/sha256/"
	waitHeader = "Wasmesh-Wait"
	// patience is for an answer to begin, beyond what was asked to wait.
	patience        = 10 * time.Second
	transferTimeout = 2 * time.Minute
)

// Fetcher keeps one folder as the control plane says.
type Fetcher struct {
	// URL is https://host:port of the control plane's module endpoint.
	URL   string
	Store store.Store
	// Transport proves who we are, and that the server is the mesh's.
	Transport func() (http.RoundTripper, error)
	// have are those known to be whole; before is the list before the last change.
	have, last, before []string
	asked              bool
	tag                string
}

// Once asks what is named, for at most wait if there is no news, and brings what
// is missing. An error says what is missing still.
func (f *Fetcher) Once(ctx context.Context, wait time.Duration) (fetched []string, err error) {
	f.have = slices.DeleteFunc(f.have, func(d string) bool { return !f.Store.Exists(d) })
	if len(f.missing()) > 0 {
		wait = 0 // there is work left, whatever the news
	}
	named, tag, err := f.list(ctx, wait)
	if err != nil {
		return nil, fmt.Errorf("asking %s for the modules: %w", f.URL, err)
	}
	f.turn(named)
	for _, digest := range f.missing() {
		if !f.Store.Has(digest) {
			if failed := f.bring(ctx, digest); failed != nil {
				err = errors.Join(err, failed)
				continue
			}
			fetched = append(fetched, digest)
		}
		f.have = append(f.have, digest)
	}
	if err != nil {
		return fetched, err
	}
	f.tag = tag
	// The list before is kept too: Envoy may run it still, and a rollback is then
	// at once.
	return fetched, f.Store.Keep(append(slices.Clone(f.last), f.before...)...)
}

// turn takes a list that is another than the last.
func (f *Fetcher) turn(named []string) {
	if !f.asked {
		f.asked = true
		f.before, _ = f.Store.List() // what served before a restart
		f.last = named
		return
	}
	if !slices.Equal(f.last, named) {
		f.before, f.last = f.last, named
		f.have = slices.DeleteFunc(f.have, func(d string) bool { return !slices.Contains(named, d) })
	}
}

func (f *Fetcher) missing() []string {
	var out []string
	for _, digest := range f.last {
		if !slices.Contains(f.have, digest) {
			out = append(out, digest)
		}
	}
	return out
}

func (f *Fetcher) list(ctx context.Context, wait time.Duration) (named []string, tag string, err error) {
	header := http.Header{waitHeader: {strconv.Itoa(int(wait / time.Second))}}
	if f.tag != "" {
		header.Set("If-None-Match", f.tag)
	}
	err = f.get(ctx, listPath, header, wait+patience, func(r *http.Response) error {
		if r.StatusCode == http.StatusNotModified {
			named, tag = f.last, f.tag
			return nil
		}
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("the answer is %s", r.Status)
		}
		var l struct {
			Modules []string `json:"modules"`
		}
		tag = r.Header.Get("ETag")
		err := json.NewDecoder(io.LimitReader(r.Body, maxList)).Decode(&l)
		named = l.Modules
		return err
	})
	return named, tag, err
}

func (f *Fetcher) bring(ctx context.Context, digest string) error {
	if !store.IsDigest(digest) {
		return fmt.Errorf("the control plane names %.80q, which is no digest", digest)
	}
	return f.get(ctx, bytesPath+digest, http.Header{}, transferTimeout, func(r *http.Response) error {
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("module %s: the answer is %s", digest, r.Status)
		}
		return f.Store.Receive(digest, r.Body, maxModule)
	})
}

// get asks on a connection of its own: no connection outlives a certificate.
func (f *Fetcher) get(ctx context.Context, path string, header http.Header, limit time.Duration, read func(*http.Response) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	transport, err := f.Transport()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL+path, nil)
	if err != nil {
		return err
	}
	request.Header, request.Close = header, true
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return read(response)
}
