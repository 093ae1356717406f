package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
)

// proof is how a sidecar shows the control plane who it is.
type proof interface {
	// open returns an error if there is nothing to show.
	open() error
	// certify gets a certificate for a signing request.
	certify(ctx context.Context, csr []byte) (ca.Membership, error)
	// roots tells what Envoy holds, and asks which roots (PEM) to trust. An empty
	// signer says that it is not known.
	roots(ctx context.Context, holds ca.Holding) (bundle []byte, signer string, err error)
	// trust is told of new roots before Envoy is.
	trust(bundle []byte) error
	// final reports whether it is pointless to go on after an error at the start.
	final(err error) bool
	// lost reports whether an error will stay for good, once the certificate has
	// ended.
	lost(err error) bool
	// patience is the longest pause at the start after an error.
	patience(err error) time.Duration
}

// joined proves itself with a join token once, and then with a renewal credential
// that the state folder keeps.
type joined struct {
	client          ca.Client
	token, stateDir string
	log             *slog.Logger
	// kept is what the next renewal uses: what is on disk, as using a newer
	// credential that is only in memory would end the one on disk.
	kept    ca.Membership
	hasKept bool
}

func (j *joined) open() (err error) {
	if j.kept, j.hasKept, err = loadMembership(j.stateDir); err != nil {
		return err
	}
	if !j.hasKept && j.token == "" {
		return errNoWay
	}
	return nil
}

func (j *joined) certify(ctx context.Context, csr []byte) (m ca.Membership, err error) {
	if j.hasKept {
		m, err = j.client.Renew(ctx, j.kept, csr)
	} else {
		m, err = j.client.Join(ctx, j.token, csr)
	}
	if err != nil {
		return m, err
	}
	saved := saveMembership(j.stateDir, m)
	if saved != nil {
		j.log.Error("the renewal credential could not be kept; a restart may need a new join token", "reason", saved)
	}
	if saved == nil || !j.hasKept {
		j.kept, j.hasKept = m, true
	}
	return m, nil
}

func (j *joined) roots(ctx context.Context, holds ca.Holding) (bundle []byte, signer string, err error) {
	return j.client.Roots(ctx, j.kept, holds)
}

// trust keeps the roots on disk: whoever restarts must be able to verify the
// control plane.
func (j *joined) trust(bundle []byte) error {
	kept := j.kept
	kept.TrustBundle = bundle
	if err := saveMembership(j.stateDir, kept); err != nil {
		return err
	}
	j.kept = kept
	return nil
}

func (j *joined) final(err error) bool {
	if errors.Is(err, ca.ErrRefused) && j.hasKept && j.token != "" {
		j.log.Warn("the renewal credential was refused; joining anew with the token", "reason", err)
		j.hasKept = false
		return false
	}
	// After a restart, an impostor at the address may go away again; before
	// the first join it is the address or the token that is wrong.
	impostor := errors.Is(err, ca.ErrImpostor) && !j.hasKept
	return errors.Is(err, ca.ErrRefused) || errors.Is(err, ca.ErrRequest) || impostor
}

// lost: a renewal credential that is refused is never taken again.
func (*joined) lost(err error) bool { return errors.Is(err, ca.ErrRefused) }

func (*joined) patience(error) time.Duration { return slowestStart }
