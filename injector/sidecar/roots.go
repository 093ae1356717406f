package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
)

const (
	// A rotation of the root reaches everyone within slowestAsk, and costs the
	// control plane one handshake per sidecar in that time.
	slowestAsk = 30 * time.Second
	fastestAsk = time.Second
	// asksPerLife keeps rotations faster than certificates that live for seconds.
	asksPerLife = 8
)

// untilRenewal returns when the certificate is to be renewed: at due, or earlier
// if another root signs by then. Meanwhile it asks which roots to trust and
// hands them to Envoy. False means that ctx ended.
func (e *enrolment) untilRenewal(ctx context.Context, due time.Time) bool {
	every := min(max(e.current.Lifetime/asksPerLife, fastestAsk), slowestAsk)
	for {
		ask := time.Now().Add(time.Duration(float64(every) * (0.8 + 0.4*mathrand.Float64())))
		if !ask.Before(due) {
			return sleepUntil(ctx, due)
		}
		if !sleepUntil(ctx, ask) {
			return false
		}
		signer, err := e.followRoots(ctx)
		if ctx.Err() != nil {
			return false
		}
		e.tellOnce(err)
		if err == nil && signer != "" && signer != e.current.Signer {
			e.log.Info("another root signs now; renewing the certificate")
			return true
		}
	}
}

// tellOnce logs that the roots cannot be asked for when that begins: a control
// plane that is away is told of by the renewals too.
func (e *enrolment) tellOnce(err error) {
	if err != nil && !e.lost {
		e.log.Warn("cannot ask for the roots of the mesh; going on with those that are known", "reason", err)
	}
	e.lost = err != nil
}

// followRoots tells the control plane what Envoy runs with, hands Envoy the
// roots that it answers if they are others, and returns which of them signs; empty
// if that is not known.
func (e *enrolment) followRoots(ctx context.Context) (signer string, err error) {
	bundle, signer, err := e.proof.roots(ctx, e.holding(ctx))
	if err != nil || bytes.Equal(bundle, e.current.TrustBundle) {
		return signer, err
	}
	if err := e.proof.trust(bundle); err != nil {
		return "", err
	}
	if err := deliverTrust(e.run, bundle); err != nil {
		return "", err
	}
	e.current.TrustBundle = bundle
	e.log.Info("the roots of the mesh have changed", "signer", signer)
	return signer, nil
}

// holding asks Envoy what it runs with: that a file was written says nothing. An
// Envoy that does not answer holds nothing.
func (e *enrolment) holding(ctx context.Context) ca.Holding {
	chain, bundle, err := e.admin.secrets(ctx)
	if err != nil {
		return ca.Holding{}
	}
	var h ca.Holding
	if chain == string(e.current.Certificates) {
		h.Signer = e.current.Signer
	}
	if bundle == string(e.current.TrustBundle) {
		h.Trusts, _ = ca.Fingerprints([]byte(bundle))
	}
	return h
}

// secrets returns the certificate chain and the roots that Envoy runs with, in
// PEM. Each file may be read for several reasons; if Envoy has not taken it up
// for all of them yet, what is returned is empty.
func (a Admin) secrets(ctx context.Context) (chain, bundle string, err error) {
	body, err := a.Get(ctx, "/config_dump?resource=dynamic_active_secrets")
	if err != nil {
		return "", "", err
	}
	type text struct {
		Inline string `json:"inline_string"`
	}
	var dump struct {
		Configs []struct {
			Name   string `json:"name"`
			Secret struct {
				Certificate struct {
					Chain text `json:"certificate_chain"`
				} `json:"tls_certificate"`
				Validation struct {
					Roots text `json:"trusted_ca"`
				} `json:"validation_context"`
			} `json:"secret"`
		} `json:"configs"`
	}
	if err := json.Unmarshal(body, &dump); err != nil {
		return "", "", fmt.Errorf("envoy's list of secrets: %w", err)
	}
	found := map[string]string{}
	for _, c := range dump.Configs {
		value := c.Secret.Certificate.Chain.Inline + c.Secret.Validation.Roots.Inline
		if before, ok := found[c.Name]; ok && before != value {
			value = ""
		}
		found[c.Name] = value
	}
	return found[IdentitySecret], found[TrustSecret], nil
}
