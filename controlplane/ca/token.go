package ca

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	tokenPrefix = "wmjoin1"
	maxToken    = 256 // bytes; a token has 120
	secretBytes = 32
	idBytes     = 12
	// MaxTokenTTL bounds how long a token may lie around unused.
	MaxTokenTTL = 7 * 24 * time.Hour
	// keepTokens is how long a used or expired token still has a reason of its
	// own in the log, before its file goes.
	keepTokens = 2 * MaxTokenTTL
	// maxTokens bounds the folder: one per workload that is about to join.
	maxTokens = 10_000
)

// ErrRefused is what every refusal of a token or a renewal credential wraps.
// The reason is for the operator's log: a caller is only told that it is so.
var ErrRefused = errors.New("refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// Token is a join token taken apart. Root and ID are public, the secret is not.
type Token struct {
	// Root is the fingerprint of the root that the holder must meet.
	Root   string
	ID     string
	secret string
}

// ParseToken reads wmjoin1.<root fingerprint>.<id>.<secret>. Its errors never
// contain the text.
func ParseToken(text string) (Token, error) {
	parts := strings.Split(text, ".")
	if len(text) > maxToken || len(parts) != 4 || parts[0] != tokenPrefix {
		return Token{}, errors.New("this is not a join token: it must have the form " + tokenPrefix + ".<root>.<id>.<secret>")
	}
	id, err := hex.DecodeString(parts[2])
	idOK := err == nil && len(id) == idBytes && parts[2] == strings.ToLower(parts[2])
	if !idOK || !isSecret(parts[1]) || !isSecret(parts[3]) {
		return Token{}, errors.New("this join token is damaged: copy it again, in full")
	}
	return Token{Root: parts[1], ID: parts[2], secret: parts[3]}, nil
}

// String leaves the secret out, so that printing a Token by mistake is harmless.
func (t Token) String() string { return tokenPrefix + "." + t.Root + "." + t.ID + ".…" }

// isSecret accepts 32 bytes in strict base64url: one text for one value.
func isSecret(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == secretBytes && !strings.ContainsAny(s, "\r\n")
}

func newSecret() string {
	b := make([]byte, secretBytes)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// hashOf is what is stored of a secret. It has 256 random bits, so a plain hash
// is enough: there is nothing to guess.
func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func matches(secret, hash string) bool {
	return subtle.ConstantTimeCompare([]byte(hashOf(secret)), []byte(hash)) == 1
}

// tokenFile is what a token's file holds.
type tokenFile struct {
	Workload string    `json:"workload"`
	Hash     string    `json:"secretSHA256"`
	Expires  time.Time `json:"expires"`
}

// CreateToken returns a token with which one workload can join once, within
// ttl. It works beside a running control plane that uses the same folder.
func (a *Authority) CreateToken(workload mesh.Name, ttl time.Duration) (string, error) {
	if _, err := Label(workload, KindWorkload); err != nil {
		return "", fmt.Errorf("join token: %w", err)
	}
	if ttl <= 0 || ttl > MaxTokenTTL {
		return "", fmt.Errorf("join token for %s: %v is out of bounds; it can be valid for up to %v", workload, ttl, MaxTokenTTL)
	}
	if err := a.prune(); err != nil {
		return "", fmt.Errorf("join token for %s: %w", workload, err)
	}
	id := make([]byte, idBytes)
	rand.Read(id) // never fails
	t := Token{Root: a.Fingerprint(), ID: hex.EncodeToString(id), secret: newSecret()}
	data, err := json.Marshal(tokenFile{workload.String(), hashOf(t.secret), a.now().Add(ttl).UTC()})
	if err != nil {
		return "", err
	}
	if err := durable.Write(a.tokenPath(t.ID), data); err != nil {
		return "", fmt.Errorf("join token for %s: %w", workload, err)
	}
	return strings.Join([]string{tokenPrefix, t.Root, t.ID, t.secret}, "."), nil
}

// prune removes what expired long ago, and refuses to let the folder grow
// without bound.
func (a *Authority) prune() error {
	live := 0
	for _, dir := range []string{filepath.Join(a.dir, "tokens"), filepath.Join(a.dir, "tokens", "used")} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || e.IsDir() {
				continue
			}
			if a.now().Sub(info.ModTime()) > keepTokens {
				_ = os.Remove(filepath.Join(dir, e.Name()))
			} else {
				live++
			}
		}
	}
	if live >= maxTokens {
		return fmt.Errorf("there are %d tokens already; remove files from %s/tokens", live, a.dir)
	}
	return nil
}

// Redeem trades a token for its workload and the workload's first renewal
// credential; an earlier credential of the same workload ends. admit is asked
// when the token has proved good and before it is spent: if it returns an error,
// the token can be used again. Of several callers with one token, one succeeds.
func (a *Authority) Redeem(text string, admit func(mesh.Name) error) (mesh.Name, string, error) {
	t, workload, err := a.check(text)
	if err != nil {
		return workload, "", err
	}
	if err := admit(workload); err != nil {
		return workload, "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// The credential is on disk before the token is spent: a full disk must not
	// cost the workload its only token.
	renewal := newSecret()
	staged, err := stageCredential(a.credentialPath(workload), credentialFile{Hashes: []string{hashOf(renewal)}, LeafEnds: a.now().Add(a.leafLifetime).UTC()})
	if err != nil {
		return workload, "", err
	}
	defer staged.Discard()
	switch err := durable.Move(a.tokenPath(t.ID), a.usedPath(t.ID)); {
	case errors.Is(err, fs.ErrNotExist):
		return workload, "", refuse("token %s was used a moment ago", t.ID)
	case err != nil:
		return workload, "", fmt.Errorf("spending token %s: %w", t.ID, err)
	}
	if err := staged.Replace(); err != nil {
		return workload, "", fmt.Errorf("token %s of workload %s is spent, but its credential could not be kept: %w; create a new token", t.ID, workload, err)
	}
	return workload, renewal, nil
}

// check proves a token without spending it.
func (a *Authority) check(text string) (Token, mesh.Name, error) {
	t, err := ParseToken(text)
	if err != nil {
		return t, mesh.Name{}, refuse("malformed token")
	}
	if !a.roots.Load().knows(t.Root) {
		return t, mesh.Name{}, refuse("token %s is for a mesh with another root", t.ID)
	}
	data, err := os.ReadFile(a.tokenPath(t.ID))
	used := errors.Is(err, fs.ErrNotExist)
	if used {
		data, err = os.ReadFile(a.usedPath(t.ID))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return t, mesh.Name{}, refuse("token %s does not exist (never created here, or removed)", t.ID)
	}
	if err != nil {
		return t, mesh.Name{}, fmt.Errorf("reading token %s: %w", t.ID, err)
	}
	var f tokenFile
	if err := json.Unmarshal(data, &f); err != nil {
		return t, mesh.Name{}, fmt.Errorf("reading token %s: %w", t.ID, err)
	}
	workload, ok := mesh.ParseName(f.Workload)
	if _, err := Label(workload, KindWorkload); !ok || err != nil {
		return t, mesh.Name{}, fmt.Errorf("token %s is bound to %.300q, which is no workload", t.ID, f.Workload)
	}
	switch {
	case !matches(t.secret, f.Hash):
		return t, workload, refuse("token %s came with a wrong secret", t.ID)
	case used:
		return t, workload, refuse("token %s was used already", t.ID)
	case !a.now().Before(f.Expires):
		return t, workload, refuse("token %s expired at %s", t.ID, f.Expires.Format(time.RFC3339))
	}
	return t, workload, nil
}

// The id is hexadecimal (ParseToken), so it cannot leave the folder.
func (a *Authority) tokenPath(id string) string {
	return filepath.Join(a.dir, "tokens", id+".json")
}

func (a *Authority) usedPath(id string) string {
	return filepath.Join(a.dir, "tokens", "used", id+".json")
}
