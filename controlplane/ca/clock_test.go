package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"
)

// skewed is a caller whose clock is off by d.
func skewed(base string, d time.Duration) Client {
	return Client{URL: base, Now: func() time.Time { return time.Now().Add(d) }}
}

// Up to five minutes either way nothing is different: joining, renewing, and a
// leaf's life, which is counted by the control plane's clock.
func TestToleratedSkew(t *testing.T) {
	a, _ := open(t)
	base, log := serve(t, a, known)
	ctx := context.Background()
	for _, d := range []time.Duration{0, MaxSkew - 5*time.Second, 5*time.Second - MaxSkew} {
		c := skewed(base, d)
		m, err := c.Join(ctx, token(t, a), csr(t))
		if err != nil {
			t.Fatalf("%v: %v", d, err)
		}
		m, err = c.Renew(ctx, m, csr(t))
		if err != nil {
			t.Fatalf("%v: %v", d, err)
		}
		if off := m.Lifetime - DefaultLeafLifetime; off.Abs() > 5*time.Second {
			t.Errorf("%v: lives for %v", d, m.Lifetime)
		}
		if off := m.Skew - d; off.Abs() > 5*time.Second {
			t.Errorf("%v: took it for %v", d, m.Skew)
		}
	}
	if strings.Contains(log.String(), "clock") {
		t.Errorf("a tolerated skew was complained of:\n%s", log)
	}
}

// Peers that are five minutes off in either direction accept a leaf from the
// moment it is issued until two fifths before its end.
func TestPeersBearSkew(t *testing.T) {
	for _, life := range []time.Duration{DefaultLeafLifetime, 20 * time.Minute, time.Minute} {
		a, clock := open(t)
		a.leafLifetime = life
		issued, err := a.Issue(newKey(t).Public(), buyer, 0)
		if err != nil {
			t.Fatal(err)
		}
		leaf := leafOf(t, issued.Chain)
		for _, age := range []time.Duration{0, life / 2} {
			for _, skew := range []time.Duration{-MaxSkew, 0, Tolerated(life)} {
				now := clock.now().Add(age + skew)
				if _, err := verifyChain([]*x509.Certificate{leaf}, a.roots.Load().trusted(), x509.ExtKeyUsageClientAuth, now); err != nil {
					t.Errorf("life %v, age %v, skew %v: %v", life, age, skew, err)
				}
			}
		}
	}
}

// Beyond, whoever wants to join is told by how much its clock is wrong, and
// keeps its token.
func TestSkewIsNamed(t *testing.T) {
	a, _ := open(t)
	base, log := serve(t, a, known)
	ctx := context.Background()
	text := token(t, a)
	for d, want := range map[time.Duration]string{8 * time.Minute: "8m0s ahead of", -8 * time.Minute: "behind", 48 * time.Hour: "24h0m", -48 * time.Hour: "behind"} {
		_, err := skewed(base, d).Join(ctx, text, csr(t))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "set it") {
			t.Errorf("%v: %v", d, err)
		}
		if errors.Is(err, ErrRefused) || errors.Is(err, ErrImpostor) || errors.Is(err, ErrRequest) {
			t.Errorf("%v: given up, though a clock can be set: %v", d, err)
		}
	}
	m, err := at(base).Join(ctx, text, csr(t))
	if err != nil {
		t.Fatalf("the token was spent: %v", err)
	}
	// A member is not locked out by a clock while its leaf would be good.
	if m, err = skewed(base, 8*time.Minute).Renew(ctx, m, csr(t)); err != nil || m.Skew.Round(time.Minute) != 8*time.Minute {
		t.Errorf("%v, %v", m.Skew, err)
	}
	if !strings.Contains(log.String(), "8m0s ahead of the control plane's") {
		t.Errorf("the operator is not told:\n%s", log)
	}
	// For a machine that is that far behind, the new leaf is not valid yet: it keeps
	// the old one.
	for _, d := range []time.Duration{-8 * time.Minute, -48 * time.Hour, 48 * time.Hour} {
		if _, err := skewed(base, d).Renew(ctx, m, csr(t)); !errors.Is(err, ErrClock) {
			t.Errorf("%v: %v", d, err)
		}
	}
	if _, err := at(base).Renew(ctx, m, csr(t)); err != nil {
		t.Errorf("the renewals that were of no use cost the credential: %v", err)
	}
}

// A stranger's certificate that has ended is a stranger's, not a matter of clocks.
func TestForeignServerIsNoMatterOfClocks(t *testing.T) {
	a, clock := open(t)
	other, _ := open(t)
	leaf, err := other.ServingCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	late := clock.now().Add(48 * time.Hour)
	if err := verifyControlPlane([]*x509.Certificate{leaf.Leaf}, a.roots.Load().trusted(), late); err == nil || errors.Is(err, ErrClock) {
		t.Errorf("got %v", err)
	}
	if err := verifyControlPlane([]*x509.Certificate{leaf.Leaf}, other.roots.Load().trusted(), late); !errors.Is(err, ErrClock) {
		t.Errorf("got %v", err)
	}
}

// The control plane alone says when a token ends.
func TestTokenEndsByOneClock(t *testing.T) {
	a, clock := open(t)
	base, _ := serve(t, a, known)
	text := token(t, a) // good for an hour
	clock.advance(time.Hour - time.Minute)
	at59 := func(d time.Duration) Client {
		return Client{URL: base, Now: func() time.Time { return clock.now().Add(d) }}
	}
	if _, err := at59(4*time.Minute).Join(context.Background(), text, csr(t)); err != nil {
		t.Errorf("a clock that is ahead ended a token: %v", err)
	}
	text = token(t, a)
	clock.advance(time.Hour + time.Minute)
	if _, err := at59(-4*time.Minute).Join(context.Background(), text, csr(t)); !errors.Is(err, ErrRefused) {
		t.Errorf("a clock that is behind kept a token: %v", err)
	}
}
