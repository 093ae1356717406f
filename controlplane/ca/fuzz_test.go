package ca

import (
	"errors"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func FuzzParseToken(f *testing.F) {
	f.Add("wmjoin1." + newSecret() + "." + strings.Repeat("0a", idBytes) + "." + newSecret())
	f.Add("wmjoin1...")
	f.Add("wmjoin2.a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			return
		}
		// One value has one text, and an id is a plain file name.
		if again := strings.Join([]string{tokenPrefix, token.Root, token.ID, token.secret}, "."); again != text {
			t.Fatalf("%q reads back as %q", text, again)
		}
		if filepath.Base(token.ID) != token.ID || len(token.ID) != 2*idBytes {
			t.Fatalf("id %q", token.ID)
		}
	})
}

func FuzzParseLabel(f *testing.F) {
	f.Add("buyer.workload.shop" + labelSuffix)
	f.Add("a.b.c.d" + labelSuffix)
	f.Add("..." + labelSuffix)
	f.Fuzz(func(t *testing.T, text string) {
		workload, kind, ok := ParseLabel(text)
		if !ok {
			return
		}
		if again, err := Label(workload, kind); err != nil || again != text {
			t.Fatalf("%q reads back as %q, %v", text, again, err)
		}
	})
}

// Whatever comes before a proof, the answer is a refusal: no panic, no success.
func FuzzJoinRequest(f *testing.F) {
	a, err := Open(filepath.Join(f.TempDir(), "state"), Options{TrustDomain: testDomain})
	if err != nil {
		f.Fatal(err)
	}
	request := strings.ReplaceAll(string(csr(f)), "\n", `\n`)
	f.Add(joinPath, `{"token":"wmjoin1.a.b.c","csr":"`+request+`"}`)
	f.Add(renewPath, `{"workload":"shop/buyer","renewal":"`+newSecret()+`","csr":"`+request+`"}`)
	f.Add(renewPath, `{"workload":"../x","csr":"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"}`)
	f.Add(rootsPath, `{"workload":"shop/buyer","renewal":"`+newSecret()+`","holds":{"trusts":["x"],"signer":"y"}}`)
	f.Add(rootsPath, `{"workload":"shop/buyer","holds":{"trusts":["1","2","3","4","5"]}}`)
	f.Fuzz(func(t *testing.T, path, body string) {
		if path != joinPath && path != rootsPath {
			path = renewPath
		}
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		a.Handler(known, slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
		if w.Code != 400 && w.Code != 403 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	a, err := Open(filepath.Join(f.TempDir(), "state"), Options{TrustDomain: testDomain})
	if err != nil {
		f.Fatal(err)
	}
	own := csr(f)
	f.Add(string(a.TrustBundle()), string(a.TrustBundle()), "shop/buyer-1.vm", time.Now().Unix())
	f.Fuzz(func(t *testing.T, certificates, bundle, workload string, expires int64) {
		r := answer{Certificates: certificates, TrustBundle: bundle, Workload: workload, Expires: time.Unix(expires, 0)}
		if _, err := r.membership(own, time.Now()); err == nil || errors.Is(err, ErrRefused) {
			t.Fatalf("a made-up membership was accepted: %v", err)
		}
	})
}
