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
	"sync/atomic"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
)

const (
	firstRetry = 200 * time.Millisecond
	// slowestStart is short, as an application waits for the answer: after an
	// outage, however long, a sidecar that starts serves within 5 s of its end.
	slowestStart = time.Second
	// slowestRenew heals a workload whose certificate ended while the control plane
	// was away within half a minute of its return; renewals of certificates that
	// live for minutes only are tried again sooner.
	slowestRenew    = 10 * time.Second
	renewalsPerLife = 20
	// clockStep bounds each sleep: a machine that was suspended finds its
	// certificate half gone without its timers having noticed.
	clockStep = 30 * time.Second
)

// errNoWay says that there is nothing to prove oneself with.
var errNoWay = errors.New("there is neither a join token nor a renewal credential in the state folder; create a token with `wasmesh token create`")

// enrolment gets certificates from the control plane and hands them to Envoy.
type enrolment struct {
	proof proof
	run   *runDir
	admin Admin
	log   *slog.Logger
	// current is what was handed to Envoy last, and when its leaf came.
	current  ca.Membership
	received time.Time
	// lost: the last question for the roots was not answered.
	lost bool
	// lack is why there is no certificate, for whoever asks; nil while there is one.
	lack atomic.Pointer[string]
}

// start returns the first membership. It tries until ctx ends, unless the answer
// is final.
func (e *enrolment) start(ctx context.Context) (ca.Membership, error) {
	if err := e.proof.open(); err != nil {
		return ca.Membership{}, err
	}
	return e.retry(ctx, e.proof.patience, e.proof.final)
}

// keepFresh renews what was received until ctx ends. It returns an error only
// when the certificate has run out and a new one is refused for good: while the
// control plane is merely away, Envoy keeps what it has, and heals when it is back.
func (e *enrolment) keepFresh(ctx context.Context) error {
	for {
		if !e.untilRenewal(ctx, renewAt(e.received, e.current.Lifetime, mathrand.Float64())) {
			return nil
		}
		ends := e.received.Add(e.current.Lifetime)
		slowest := min(max(e.current.Lifetime/renewalsPerLife, time.Second), slowestRenew)
		_, err := e.retry(ctx, func(error) time.Duration { return slowest }, func(err error) bool {
			return e.proof.lost(err) && time.Now().After(ends)
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the certificate has expired and is not renewed: %w", err)
		}
	}
}

// renewAt is after half of the life, or up to 10 % of that earlier: sidecars that
// started together do not come back together, and half of the life is always
// left for a control plane that is away. random is in [0,1). It counts from when
// the certificate came, not to when it ends: that is a time of another machine's
// clock.
func renewAt(received time.Time, lifetime time.Duration, random float64) time.Time {
	return received.Add(time.Duration(float64(lifetime/2) * (0.9 + 0.1*random)))
}

// retry enrols with growing pauses until it works, final says so, or ctx ends.
func (e *enrolment) retry(ctx context.Context, slowest func(error) time.Duration, final func(error) bool) (ca.Membership, error) {
	pause := firstRetry
	for {
		m, err := e.once(ctx)
		if err == nil || ctx.Err() != nil {
			return m, errors.Join(err, ctx.Err())
		}
		if !time.Now().Before(e.received.Add(e.current.Lifetime)) {
			e.lack.Store(new(lackOf(err)))
		}
		if final(err) {
			return ca.Membership{}, err
		}
		e.log.Warn("no certificate yet; trying again", "reason", err, "pause", pause)
		if !sleepUntil(ctx, time.Now().Add(time.Duration(float64(pause)*(0.8+0.4*mathrand.Float64())))) {
			return ca.Membership{}, ctx.Err()
		}
		pause = min(2*pause, slowest(err))
	}
}

// once makes a new key, gets it certified and hands the certificate to Envoy.
func (e *enrolment) once(ctx context.Context) (ca.Membership, error) {
	key, csr, err := newKey()
	if err != nil {
		return ca.Membership{}, err
	}
	m, err := e.proof.certify(ctx, csr)
	if err != nil {
		return ca.Membership{}, err
	}
	if err := deliver(e.run, key, m.Certificates, m.TrustBundle); err != nil {
		return ca.Membership{}, err
	}
	e.current, e.received = m, time.Now()
	e.lack.Store(nil)
	if tolerated := ca.Tolerated(m.Lifetime); m.Skew.Abs() > tolerated {
		e.log.Error("the clock of this machine is wrong, or the control plane's is; peers may refuse this workload, or it them: set it", "ahead", m.Skew.Round(time.Second), "tolerated", tolerated)
	}
	e.log.Info("certificate received", "workload", m.Workload.String(), "serviceAccount", m.ServiceAccount.String(), "expires", m.Expires)
	return m, nil
}

// lackOf says in a phrase why there is no certificate. Anybody may ask, so it has
// nothing of the error itself, which is in the log.
func lackOf(err error) string {
	why := "the control plane does not answer"
	switch {
	case errors.Is(err, ca.ErrRefused):
		why = "the control plane refuses this workload"
	case errors.Is(err, ca.ErrImpostor):
		why = "who answers is not the control plane of this mesh, or its root is not known here yet"
	case errors.Is(err, ca.ErrRequest):
		why = "the control plane cannot use the request"
	case errors.Is(err, ca.ErrClock):
		why = "the clock here and that of the control plane are too far apart"
	case errors.Is(err, errPlatform):
		why = "the platform has not given its token, or the roots of the mesh"
	}
	return "no certificate: " + why + "; the log says more"
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

// sleepUntil follows the monotonic clock, which nobody sets, and the wall clock,
// which goes on in suspend, whichever is there first: to wake too early costs
// little. False means that ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	for {
		now := time.Now()
		left := min(at.Sub(now), at.Round(0).Sub(now.Round(0)))
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
