package oci_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/wasmesh/wasmesh/wasm-registry/module/moduletest"
	"github.com/wasmesh/wasmesh/wasm-registry/oci"
)

// victim is something on this machine that must not hear of us; it counts who
// connects.
func victim(t *testing.T, address string) (string, *atomic.Int32) {
	t.Helper()
	var calls atomic.Int32
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			_ = c.Close()
		}
	}()
	return l.Addr().String(), &calls
}

// A registry that sends us on, to get tokens or content, sends us nowhere but
// to itself and to the world; its twin that stays at home is fine.
func TestRegistryLeadsNowhere(t *testing.T) {
	wasm := moduletest.Good().Bytes()
	for name, inTheWay := range map[string]func(to string) func(http.ResponseWriter, *http.Request) bool{
		"token": func(to string) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Authorization") != "" {
					return false
				}
				w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+to+`/token",service="s"`)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
		},
		"redirect": redirect("http://"), "neighbour": redirect("http://"), "redirect by TLS": redirect("https://"),
	} {
		address := victimAddress
		if name == "neighbour" {
			address = registryAddress // on another port
		}
		to, calls := victim(t, address)
		var block func(http.ResponseWriter, *http.Request) bool
		inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
		host := serve(t, registryAddress, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/token":
				_, _ = io.WriteString(w, `{"token":"t"}`)
			case block == nil || !block(w, r):
				inner.ServeHTTP(w, r)
			}
		}))
		r := reference(t, host+"/a:1")
		if _, err := client.Push(t.Context(), r, wasm); err != nil {
			t.Fatal(err)
		}
		block = inTheWay(to)
		if _, err := client.Pull(t.Context(), r); err == nil || errors.Is(err, oci.ErrNoModule) || calls.Load() != 0 {
			t.Errorf("%s: got %v, and %d calls came through", name, err, calls.Load())
		} else {
			t.Log(err)
		}
		block = inTheWay(host)
		if _, err := client.Pull(t.Context(), r); err != nil && name != "redirect by TLS" {
			t.Errorf("%s, to itself: %v", name, err)
		}
	}
}

// redirect sends those who want content somewhere else, once.
func redirect(scheme string) func(to string) func(http.ResponseWriter, *http.Request) bool {
	return func(to string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") || r.URL.Query().Has("again") {
				return false
			}
			http.Redirect(w, r, scheme+to+r.URL.Path+"?again", http.StatusTemporaryRedirect)
			return true
		}
	}
}

// A registry on this machine, and one in the clear, are each asked for.
func TestLoopbackAndPlainHTTPAreAskedFor(t *testing.T) {
	host := startRegistry(t)
	r := reference(t, host+"/a:1")
	_, port, _ := strings.Cut(host, ":")
	for _, c := range []struct {
		client oci.Client
		image  string
		text   string
	}{
		{oci.Client{PlainHTTP: true}, host, "--allow-loopback"},
		{oci.Client{PlainHTTP: true}, "localhost:" + port, "--allow-loopback"},
		{oci.Client{AllowLoopback: true}, host, "HTTP response to HTTPS client"},
		{oci.Client{PlainHTTP: true, AllowLoopback: true}, "169.254.169.254", "where no registry is"},
		{oci.Client{PlainHTTP: true, AllowLoopback: true}, "[::ffff:169.254.169.254]:80", "where no registry is"},
		{oci.Client{PlainHTTP: true, AllowLoopback: true}, "0.0.0.0:" + port, "where no registry is"},
	} {
		if _, err := c.client.Push(t.Context(), reference(t, c.image+"/a:1"), moduletest.Good().Bytes()); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s with %+v: got %v, want %q", c.image, c.client, err, c.text)
		}
	}
	if _, err := client.Push(t.Context(), r, moduletest.Good().Bytes()); err != nil {
		t.Error(err)
	}
}

// Credentials go to the registry they are for, and to nobody else.
func TestCredentials(t *testing.T) {
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	var other atomic.Int32
	protect := func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		if ok && (user != "wasm" || password != "pa ss") {
			other.Add(1)
		}
		if user != "wasm" || password != "pa ss" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}
	host := serve(t, registryAddress, http.HandlerFunc(protect))
	r := reference(t, host+"/a:1")
	wasm := moduletest.Good().Bytes()
	if _, err := client.Push(t.Context(), r, wasm); err == nil {
		t.Error("pushed without credentials")
	}
	with := client
	with.Username, with.Password = "wasm", "pa ss"
	if _, err := with.Push(t.Context(), r, wasm); err != nil {
		t.Error(err)
	}
	with.Password = "wrong"
	if _, err := with.Push(t.Context(), r, wasm); err == nil || other.Load() == 0 {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("wasm:pa ss")))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Pull(t.Context(), r); err != nil {
		t.Errorf("with Docker's credentials: %v", err)
	}
}
