package ca

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

func admitAll(mesh.Name) error { return nil }

func token(t testing.TB, a *Authority) string {
	t.Helper()
	text, err := a.CreateToken(client, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func wantRefusal(t *testing.T, err error, reason string) {
	t.Helper()
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v, want a refusal because %q", err, reason)
	}
}

func TestTokenWorksOnce(t *testing.T) {
	a, _ := open(t)
	text := token(t, a)
	workload, renewal, err := a.Redeem(text, admitAll)
	if err != nil || workload != client || !isSecret(renewal) {
		t.Fatalf("%v, %v", workload, err)
	}
	_, _, err = a.Redeem(text, admitAll)
	wantRefusal(t, err, "used already")
}

func TestRefusedTokens(t *testing.T) {
	a, clock := open(t)
	other, _ := open(t)
	text := token(t, a)
	parts := strings.Split(text, ".")
	wrong := strings.Join([]string{parts[0], parts[1], parts[2], newSecret()}, ".")
	unknown := strings.Join([]string{parts[0], parts[1], strings.Repeat("0", 24), parts[3]}, ".")
	for text, reason := range map[string]string{
		wrong:           "wrong secret",
		unknown:         "does not exist",
		token(t, other): "another root",
		"":              "malformed",
		text + "\n":     "malformed",
		strings.Join([]string{parts[0], parts[1], "../../workloads/x", parts[3]}, "."): "malformed",
	} {
		_, _, err := a.Redeem(text, admitAll)
		wantRefusal(t, err, reason)
		if strings.Contains(err.Error(), parts[3]) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	clock.advance(time.Hour)
	_, _, err := a.Redeem(text, admitAll)
	wantRefusal(t, err, "expired")
}

// What a thief finds in the state folder must not be a usable token.
func TestSecretsAreNotStored(t *testing.T) {
	a, _ := open(t)
	text := token(t, a)
	_, renewal, err := a.Redeem(text, admitAll)
	if err != nil {
		t.Fatal(err)
	}
	secret := text[strings.LastIndexByte(text, '.')+1:]
	err = filepath.WalkDir(a.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), secret) || strings.Contains(string(data), renewal) {
			t.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	parsed, _ := ParseToken(text)
	if strings.Contains(parsed.String(), secret) {
		t.Error("a printed token shows its secret")
	}
}

func TestRejectedAdmissionKeepsTheToken(t *testing.T) {
	a, _ := open(t)
	text := token(t, a)
	no := errors.New("not yet")
	if _, _, err := a.Redeem(text, func(mesh.Name) error { return no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if _, _, err := a.Redeem(text, admitAll); err != nil {
		t.Fatal(err)
	}
}

func TestOneOfManyRedeemers(t *testing.T) {
	a, _ := open(t)
	b, err := Open(a.dir, Options{}) // another process, with a lock of its own
	if err != nil {
		t.Fatal(err)
	}
	text := token(t, a)
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if _, _, err := []*Authority{a, b}[i%2].Redeem(text, admitAll); err == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d redeemers had success", won.Load())
	}
}

func TestTokenBounds(t *testing.T) {
	a, clock := open(t)
	for _, ttl := range []time.Duration{0, -1, MaxTokenTTL + 1} {
		if _, err := a.CreateToken(client, ttl); err == nil {
			t.Errorf("ttl %v was accepted", ttl)
		}
	}
	if _, err := a.CreateToken(mesh.Name{Namespace: "..", Name: "x"}, time.Hour); err == nil {
		t.Error("a token for no workload was created")
	}
	token(t, a)
	clock.advance(keepTokens + time.Hour)
	token(t, a)
	left, err := os.ReadDir(filepath.Join(a.dir, "tokens"))
	if err != nil || len(left) != 2 { // the new one and the folder of used ones
		t.Fatalf("%v, %v", left, err)
	}
}

func TestRenewalRotates(t *testing.T) {
	a, _ := open(t)
	_, first, err := a.Redeem(token(t, a), admitAll)
	if err != nil {
		t.Fatal(err)
	}
	admit := func() error { return nil }
	renew := func(with string) string {
		t.Helper()
		next, err := a.Renew(client, with, admit)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	// Answers get lost: the first stays good, and so does every one handed out
	// lately, as nobody knows which of them arrived.
	lost := renew(first)
	second := renew(first)
	renew(lost)
	third := renew(second)
	_, err = a.Renew(client, first, admit)
	wantRefusal(t, err, "replaced")
	_, err = a.Renew(client, lost, admit)
	wantRefusal(t, err, "replaced")
	// However often it is used, the file stays small and the newest is good.
	for range 20 {
		lost = renew(third)
	}
	renew(lost)
	_, err = a.Renew(client, third, admit)
	wantRefusal(t, err, "replaced")
	_, err = a.Renew(client, newSecret(), admit)
	wantRefusal(t, err, "wrong")
	_, err = a.Renew(mesh.Name{Namespace: "..", Name: "tokens"}, lost, admit)
	wantRefusal(t, err, "malformed")
}

func TestRevocation(t *testing.T) {
	a, _ := open(t)
	_, renewal, err := a.Redeem(token(t, a), admitAll)
	if err != nil {
		t.Fatal(err)
	}
	// The worst moment: while a renewal is under way.
	_, err = a.Renew(client, renewal, func() error {
		return os.Remove(a.credentialPath(client))
	})
	wantRefusal(t, err, "revoked")
	_, err = a.Renew(client, renewal, func() error { return nil })
	wantRefusal(t, err, "never joined, or was revoked")

	if _, renewal, err = a.Redeem(token(t, a), admitAll); err != nil {
		t.Fatal(err)
	}
	if was, err := a.Revoke(client); !was || err != nil {
		t.Fatal(was, err)
	}
	if was, err := a.Revoke(client); was || err != nil {
		t.Fatal(was, err)
	}
	_, err = a.Renew(client, renewal, func() error { return nil })
	wantRefusal(t, err, "revoked")
}

func TestJoiningAgainEndsTheOldCredential(t *testing.T) {
	a, _ := open(t)
	_, old, err := a.Redeem(token(t, a), admitAll)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Redeem(token(t, a), admitAll); err != nil {
		t.Fatal(err)
	}
	_, err = a.Renew(client, old, func() error { return nil })
	wantRefusal(t, err, "replaced")
}
