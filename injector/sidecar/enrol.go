package sidecar

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
)

const (
	firstRetry = 200 * time.Millisecond
	// slowestStart is short, as an application waits for the answer: after an
	// outage, however long, a sidecar that starts serves within 5 s of its end.
	slowestStart = time.Second
	slowestRenew = time.Minute
	// clockStep bounds each sleep: a machine that was suspended finds its
	// certificate half gone without its timers having noticed.
	clockStep = 30 * time.Second
)

// errNoWay says that there is nothing to prove oneself with.
var errNoWay = errors.New("there is neither a join token nor a renewal credential in the state folder; create a token with `wasmesh token create`")

// enrolment gets certificates from the control plane and hands them to Envoy.
type enrolment struct {
	joinURL, token, stateDir string
	run                      *runDir
	log                      *slog.Logger
	// kept is what the next renewal uses: what is on disk, as using a newer
	// credential that is only in memory would end the one on disk.
	kept    ca.Membership
	hasKept bool
}

// start returns the first membership. It tries until ctx ends, unless the answer
// is final.
func (e *enrolment) start(ctx context.Context) (ca.Membership, error) {
	var err error
	if e.kept, e.hasKept, err = loadMembership(e.stateDir); err != nil {
		return ca.Membership{}, err
	}
	if !e.hasKept && e.token == "" {
		return ca.Membership{}, errNoWay
	}
	return e.retry(ctx, slowestStart, func(err error) bool {
		if errors.Is(err, ca.ErrRefused) && e.hasKept && e.token != "" {
			e.log.Warn("the renewal credential was refused; joining anew with the token", "reason", err)
			e.hasKept = false
			return false
		}
		// After a restart, an impostor at the address may go away again; before
		// the first join it is the address or the token that is wrong.
		impostor := errors.Is(err, ca.ErrImpostor) && !e.hasKept
		return errors.Is(err, ca.ErrRefused) || errors.Is(err, ca.ErrRequest) || impostor
	})
}

// keepFresh renews until ctx ends. It returns an error only when the certificate
// has run out and the control plane refuses a new one: while it is merely away,
// Envoy keeps what it has, and heals when the control plane is back.
func (e *enrolment) keepFresh(ctx context.Context, expires time.Time) error {
	for {
		if !sleepUntil(ctx, renewAt(time.Now(), expires, mathrand.Float64())) {
			return nil
		}
		m, err := e.retry(ctx, slowestRenew, func(err error) bool {
			return errors.Is(err, ca.ErrRefused) && time.Now().After(expires)
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the certificate has expired and is not renewed: %w", err)
		}
		expires = m.Expires
	}
}

// renewAt is half of the remaining life from now, 10 % of that earlier or later:
// sidecars that started together do not come back together. random is in [0,1).
func renewAt(now, expires time.Time, random float64) time.Time {
	half := expires.Sub(now) / 2
	return now.Add(time.Duration(float64(half) * (0.9 + 0.2*random)))
}

// retry enrols with growing pauses until it works, final says so, or ctx ends.
func (e *enrolment) retry(ctx context.Context, slowest time.Duration, final func(error) bool) (ca.Membership, error) {
	pause := firstRetry
	for {
		m, err := e.once(ctx)
		if err == nil || ctx.Err() != nil {
			return m, errors.Join(err, ctx.Err())
		}
		if final(err) {
			return ca.Membership{}, err
		}
		e.log.Warn("no certificate yet; trying again", "reason", err, "pause", pause)
		if !sleepUntil(ctx, time.Now().Add(time.Duration(float64(pause)*(0.8+0.4*mathrand.Float64())))) {
			return ca.Membership{}, ctx.Err()
		}
		pause = min(2*pause, slowest)
	}
}

// once makes a new key, gets it certified, keeps the new credential and hands
// the certificate to Envoy.
func (e *enrolment) once(ctx context.Context) (ca.Membership, error) {
	key, csr, err := newKey()
	if err != nil {
		return ca.Membership{}, err
	}
	var m ca.Membership
	if e.hasKept {
		m, err = ca.Renew(ctx, e.joinURL, e.kept, csr)
	} else {
		m, err = ca.Join(ctx, e.joinURL, e.token, csr)
	}
	if err != nil {
		return ca.Membership{}, err
	}
	saved := saveMembership(e.stateDir, m)
	if saved != nil {
		e.log.Error("the renewal credential could not be kept; a restart may need a new join token", "reason", saved)
	}
	if saved == nil || !e.hasKept {
		e.kept, e.hasKept = m, true
	}
	if err := deliver(e.run, key, m.Certificates, m.TrustBundle); err != nil {
		return ca.Membership{}, err
	}
	e.log.Info("certificate received", "workload", m.Workload.String(), "serviceAccount", m.ServiceAccount.String(), "expires", m.Expires)
	return m, nil
}

// newKey returns a fresh P-256 key and a signing request for it, both PEM. The
// request asks for nothing: the control plane knows who we are.
func newKey() (key, csr []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, private)
	if err != nil {
		return nil, nil, err
	}
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}), nil
}

// sleepUntil follows the wall clock; false means that ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	at = at.Round(0) // without the monotonic clock, which stands still in suspend
	for {
		left := at.Sub(time.Now().Round(0))
		if left <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(min(left, clockStep))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}
