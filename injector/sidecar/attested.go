package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
)

const (
	maxTokenFile = 16 << 10  // bytes; a service account's token has about 1 KiB
	maxRootsFile = 256 << 10 // bytes
)

// errPlatform is wrapped when what the platform is to give is not there.
var errPlatform = errors.New("not given by the platform")

// attested proves itself with a token that its platform puts into a file and
// keeps fresh: in Kubernetes, the projected token of the pod. Nothing is kept
// between runs, as the platform vouches for the pod each time.
type attested struct {
	client               ca.Client
	tokenFile, rootsFile string
	log                  *slog.Logger
	// told are the roots that the control plane told last.
	told []byte
	// file is what the roots file held when Envoy's roots were last decided.
	file []byte
}

func (a *attested) open() error { return nil }

// certify reads both files anew: the platform replaces them while we run.
func (a *attested) certify(ctx context.Context, csr []byte) (ca.Membership, error) {
	token, known, file, err := a.read()
	if err != nil {
		return ca.Membership{}, err
	}
	m, err := a.client.Attest(ctx, token, known, csr)
	if err == nil {
		a.told, a.file = m.TrustBundle, file
	}
	return m, err
}

// roots asks the control plane, whose answer is newer than the file, which takes
// the platform a minute. The file decides when it has changed and the control
// plane cannot be asked: it may be the only way to learn of a root that was
// replaced at once.
func (a *attested) roots(ctx context.Context, holds ca.Holding) (bundle []byte, signer string, err error) {
	token, known, file, err := a.read()
	if err != nil {
		return nil, "", err
	}
	bundle, signer, err = a.client.AttestedRoots(ctx, token, known, holds)
	if err == nil {
		a.told, a.file = bundle, file
		return bundle, signer, nil
	}
	if bytes.Equal(file, a.file) || file == nil || ctx.Err() != nil {
		return nil, "", err
	}
	a.log.Warn("the control plane cannot be asked for the roots of the mesh; taking those of the file, which has changed", "path", a.rootsFile, "reason", err)
	a.file = file
	return file, "", nil
}

// trust has nothing to keep: the platform does.
func (*attested) trust([]byte) error { return nil }

// final is never true: tokens and roots are replaced while we wait, and the
// platform may take a moment to know its own pod.
func (*attested) final(error) bool { return false }

// lost is never true either: who is refused today may be known tomorrow, when the
// control plane has its rights, roots or clock back. To end would leave the
// application's probes unanswered, and so have the kubelet kill what works.
func (*attested) lost(error) bool { return false }

// patience makes those slow that are refused: each question costs the platform
// one too.
func (*attested) patience(err error) time.Duration {
	if errors.Is(err, ca.ErrRefused) {
		return slowestRenew
	}
	return slowestStart
}

// read returns the token and the roots by which a control plane is known: those
// of the file, and those that it told itself when it was known by these. file is
// nil if it cannot be used.
func (a *attested) read() (token string, known, file []byte, err error) {
	secret, err := readBounded(a.tokenFile, maxTokenFile)
	token = strings.TrimSpace(string(secret))
	if err == nil && token == "" {
		err = fmt.Errorf("%s is empty", a.tokenFile)
	}
	if err != nil {
		return "", nil, nil, fmt.Errorf("%w: token: %w", errPlatform, err)
	}
	file, err = readBounded(a.rootsFile, maxRootsFile)
	if err == nil {
		_, err = ca.Fingerprints(file)
	}
	switch {
	case err == nil:
		return token, append(bytes.Clone(file), a.told...), file, nil
	case len(a.told) > 0:
		return token, a.told, nil, nil
	}
	return "", nil, nil, fmt.Errorf("%w: roots file %s: %w; it must hold the roots of the mesh in PEM", errPlatform, a.rootsFile, err)
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, err
}
