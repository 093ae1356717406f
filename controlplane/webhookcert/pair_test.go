package webhookcert

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"reflect"
	"testing"
	"time"
)

var hosts = []string{"hook.system.svc"}

// TestEveryCertificateIsTrustedBeforeItIsServed walks through more than three lives,
// in small steps around each change, with two replicas of which one looks only at
// every tenth step and serves what it saw last.
func TestEveryCertificateIsTrustedBeforeItIsServed(t *testing.T) {
	for _, life := range []time.Duration{DefaultLife, MinLife} {
		t.Run(life.String(), func(t *testing.T) { live(t, life, life/120, min(time.Minute, life/300)) })
	}
}

func live(t *testing.T, life, far, near time.Duration) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 300_000_000, time.UTC)
	end := now.Add(life * 10 / 3)
	var data map[string][]byte
	var late []byte
	known := x509.NewCertPool() // what API servers have heard, a step ago at least
	served := map[string]bool{}
	for i := 0; now.Before(end); i++ {
		next, err := step(data, [][]byte{data[bundleKey]}, hosts, life, now)
		if err != nil {
			t.Fatal(err)
		}
		if data != nil {
			verify(t, known, next[certKey], now)
			if i%10 == 0 {
				late = next[certKey]
			}
			verify(t, known, late, now)
		} else {
			late = next[certKey]
		}
		if data != nil && data[nextCertKey] == nil && !bytes.Equal(data[certKey], next[certKey]) {
			t.Errorf("%v: a certificate is served that did not wait", now)
		}
		served[string(next[certKey])] = true
		known = x509.NewCertPool()
		known.AppendCertsFromPEM(next[bundleKey])
		pause := far
		if next[nextCertKey] != nil || !reflect.DeepEqual(data, next) || i%10 != 0 {
			pause = near
		}
		data, now = next, now.Add(pause)
	}
	if n := len(served); n < 5 || n > 6 {
		t.Errorf("%d certificates in three lives and a third, want one in two thirds of a life", n)
	}
	if n := bytes.Count(data[bundleKey], []byte("BEGIN")); n > 3 {
		t.Errorf("the bundle has grown to %d certificates", n)
	}
}

// TestNotServedBeforeItIsInEveryBundle: while the configuration cannot be written, or
// not be read, the certificate that the API server knows is served to its end.
func TestNotServedBeforeItIsInEveryBundle(t *testing.T) {
	begin := time.Now()
	first, err := step(nil, nil, hosts, DefaultLife, begin)
	if err != nil {
		t.Fatal(err)
	}
	now := begin.Add(DefaultLife * 3 / 4)
	prepared, err := step(first, nil, hosts, DefaultLife, now)
	if err != nil || prepared[nextCertKey] == nil {
		t.Fatalf("no next certificate: %v", err)
	}
	served := func(now time.Time, bundles ...[]byte) []byte {
		data, err := step(prepared, bundles, hosts, DefaultLife, now)
		if err != nil {
			t.Fatal(err)
		}
		return data[certKey]
	}
	now = now.Add(time.Hour)
	old, both := first[bundleKey], prepared[bundleKey]
	for name, bundles := range map[string][][]byte{"unknown": nil, "of before": {old}, "one of before": {both, old}} {
		if !bytes.Equal(served(now, bundles...), first[certKey]) {
			t.Errorf("bundle %s: the next certificate is served", name)
		}
	}
	if !bytes.Equal(served(now, both, both), prepared[nextCertKey]) {
		t.Error("the next certificate stands in all bundles and is not served")
	}
	if !bytes.Equal(served(begin.Add(DefaultLife+time.Hour)), prepared[nextCertKey]) {
		t.Error("a certificate that has ended is served")
	}
}

func verify(t *testing.T, roots *x509.CertPool, text []byte, now time.Time) {
	t.Helper()
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Verify(x509.VerifyOptions{DNSName: hosts[0], Roots: roots, CurrentTime: now}); err != nil {
		t.Fatalf("%s: %v", now, err)
	}
}

// TestStepMends: whatever the Secret holds, a certificate comes out, and a good
// one stays as it is.
func TestStepMends(t *testing.T) {
	now := time.Now()
	good, err := step(nil, nil, hosts, DefaultLife, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := step(good, nil, hosts, DefaultLife, now.Add(time.Hour))
	if err != nil || !reflect.DeepEqual(good, again) {
		t.Errorf("a good one was changed: %v", err)
	}
	foreign, err := step(nil, nil, []string{"other.system.svc"}, DefaultLife, now)
	if err != nil {
		t.Fatal(err)
	}
	half := maps.Clone(good)
	half[keyKey] = foreign[keyKey]
	for name, data := range map[string]map[string][]byte{
		"empty": {}, "of another host": foreign, "key of another": half,
		"no PEM": {certKey: []byte("x"), keyKey: []byte("y"), bundleKey: []byte("z")},
	} {
		mended, err := step(data, nil, hosts, DefaultLife, now)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := valid(mended[certKey], mended[keyKey], hosts, now); !ok {
			t.Errorf("%s: not mended", name)
		}
		if !bytes.Contains(mended[bundleKey], mended[certKey]) {
			t.Errorf("%s: the bundle lacks the certificate", name)
		}
	}
	// A key that signs for others would be worth stealing.
	pair, err := tls.X509KeyPair(good[certKey], good[keyKey])
	if err != nil || pair.Leaf.IsCA || pair.Leaf.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Errorf("the certificate is an authority: %v", err)
	}
}

func TestBundlePatch(t *testing.T) {
	there := webhooks{{"a", []byte("new")}, {"b", []byte("old")}}
	patch, err := bundlePatch(there, []byte("new"))
	if want := `[{"op":"test","path":"/webhooks/1/name","value":"b"},{"op":"add","path":"/webhooks/1/clientConfig/caBundle","value":"bmV3"}]`; err != nil || string(patch) != want {
		t.Errorf("%s %v", patch, err)
	}
	if patch, err := bundlePatch(there[:1], []byte("new")); patch != nil || err != nil {
		t.Errorf("nothing to do, and yet %s %v", patch, err)
	}
}
