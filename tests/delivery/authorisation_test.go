package delivery

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// A module goes to whom the configuration names it for, and to nobody else;
// others do not learn that it exists.
func TestOnlyWhoseConfigurationNamesItGetsAModule(t *testing.T) {
	s := openShop(t, nil)
	wanted := store.Digest(variant(t, 0))
	unknown := strings.Repeat("ab", 32)
	owner, other := s.member(seller), s.member(buyer)

	status, header, body := s.get(owner, "/modules/sha256/"+wanted)
	if status != http.StatusOK || store.Digest(body) != wanted {
		t.Errorf("the store gets %d and %d bytes", status, len(body))
	}
	if header.Get("ETag") != `"`+wanted+`"` || !strings.Contains(header.Get("Cache-Control"), "immutable") {
		t.Errorf("the headers are %v", header)
	}
	if status, _, body := s.get(owner, "/modules/"); status != http.StatusOK || !lists(body, wanted) {
		t.Errorf("the store's list is %d %s", status, body)
	}
	if status, _, body := s.get(other, "/modules/"); status != http.StatusOK || !lists(body) {
		t.Errorf("the buyer's list is %d %s", status, body)
	}
	denied, _, denial := s.get(other, "/modules/sha256/"+wanted)
	absent, _, absence := s.get(other, "/modules/sha256/"+unknown)
	if denied != http.StatusNotFound || absent != denied || string(denial) != string(absence) {
		t.Errorf("the buyer gets %d %s, and for what is not there %d %s", denied, denial, absent, absence)
	}
	for _, path := range []string{"/", "/modules/sha256/", "/modules/sha256/../" + wanted, "/modules/sha256/" + strings.ToUpper(wanted), "/modules/sha256/" + wanted + ".wasm", "/modules/sha256/" + unknown} {
		if status, _, body := s.get(owner, path); status == http.StatusOK && !lists(body, wanted) {
			t.Errorf("%s is answered %d %.60q", path, status, body)
		}
	}
	s.refusesStrangers(owner)
}

// refusesStrangers wants TLS itself to fail without a certificate of the mesh.
func (s *shop) refusesStrangers(member *tls.Config) {
	s.t.Helper()
	bare := member.Clone()
	bare.Certificates = nil
	foreign := member.Clone()
	foreign.Certificates = []tls.Certificate{selfSigned(s.t)}
	old := member.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, config := range map[string]*tls.Config{"no certificate": bare, "a foreign certificate": foreign, "TLS 1.2": old} {
		response, err := s.try(config, "/modules/")
		if err == nil {
			response.Body.Close()
			s.t.Errorf("with %s the answer is %s", name, response.Status)
		} else if !strings.Contains(err.Error(), "tls:") {
			s.t.Errorf("with %s: %v, which is no refusal of TLS", name, err)
		}
	}
}

func lists(body []byte, digests ...string) bool {
	var l struct{ Modules []string }
	if json.Unmarshal(body, &l) != nil || len(l.Modules) != len(digests) {
		return false
	}
	for i := range digests {
		if l.Modules[i] != digests[i] {
			return false
		}
	}
	return true
}

func (s *shop) get(config *tls.Config, path string) (int, http.Header, []byte) {
	s.t.Helper()
	response, err := s.try(config, path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, response.Header, body
}

func (s *shop) try(config *tls.Config, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "https://"+s.RegistryAddress()+path, nil)
	if err != nil {
		return nil, err
	}
	return (&http.Transport{TLSClientConfig: config, DisableKeepAlives: true}).RoundTrip(request)
}

// member joins once more as a workload.
func (s *shop) member(w mesh.Name) *tls.Config {
	s.t.Helper()
	authority, err := ca.Open(s.StateFolder(), ca.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	token, err := authority.CreateToken(w, time.Minute)
	if err != nil {
		s.t.Fatal(err)
	}
	private, key := newKey(s.t)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, private)
	if err != nil {
		s.t.Fatal(err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})
	m, err := ca.Client{URL: "https://" + s.JoinAddress()}.Join(s.t.Context(), token, csr)
	if err != nil {
		s.t.Fatal(err)
	}
	config, err := ca.MemberTLS(key, m.Certificates, m.TrustBundle)
	if err != nil {
		s.t.Fatal(err)
	}
	return config
}

func newKey(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	private, _ := newKey(t)
	template := &x509.Certificate{NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"store.workload.shop.peer.wasmesh.internal"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}
