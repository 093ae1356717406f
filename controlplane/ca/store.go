package ca

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
)

// Store keeps who signs and who is trusted, for every process that shares it. What
// it keeps is secret.
type Store interface {
	// Load returns what is kept. If nothing is, the error is fs.ErrNotExist.
	Load() ([]byte, error)
	// Create keeps data if nothing is kept yet; otherwise the error is fs.ErrExist.
	// Of several that create, one succeeds.
	Create(data []byte) error
	// Replace keeps data if before is what is kept; otherwise the error is
	// ErrConflict.
	Replace(before, data []byte) error
	// String says where it is.
	String() string
}

// ErrConflict says that another process was faster.
var ErrConflict = errors.New("another control plane has changed it meanwhile; look again, and try again")

// fileStore is one file.
type fileStore struct{ path string }

func (f fileStore) String() string { return f.path }

func (f fileStore) Load() ([]byte, error) { return os.ReadFile(f.path) }

func (f fileStore) Create(data []byte) error {
	staged, err := durable.Stage(f.path, data)
	if err != nil {
		return err
	}
	return staged.Create()
}

// Replace is for the one control plane that uses the folder; two steps at a time
// of that one are kept apart by its lock.
func (f fileStore) Replace(before, data []byte) error {
	now, err := f.Load()
	if err != nil {
		return err
	}
	if !bytes.Equal(now, before) {
		return ErrConflict
	}
	return durable.Write(f.path, data)
}

// followInterval finds what no signal told of.
const followInterval = 10 * time.Second

// Follow takes up what other processes, or an external authority, do to who signs
// and who is trusted, whenever changed says so and every ten seconds, until ctx
// ends. What cannot be used is told, and what was there before goes on; what ends
// soon is told in time.
func (a *Authority) Follow(ctx context.Context, changed <-chan struct{}, log *slog.Logger) {
	told := ""
	for {
		if troubles := strings.Join(a.Troubles(), "; "); troubles != told {
			if told = troubles; told != "" {
				log.Error("who signs needs attention", "reason", told)
			} else {
				log.Info("who signs is as it should be again")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(followInterval):
		}
		before := a.roots.Load()
		_ = a.Reload() // a trouble, told above
		if now := a.roots.Load(); now != before {
			log.Info("who signs or is trusted has changed", "signer", now.signer.Subject.CommonName, "until", now.signer.NotAfter, "trusted", len(now.trusted()))
		}
	}
}

// Reload reads who signs and who is trusted again. Whatever goes wrong, what was
// there before goes on. What is not kept any more is kept again: a mesh that lost
// its root by mistake would end when its control planes are restarted.
func (a *Authority) Reload() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unread = a.reload()
	return a.unread
}

func (a *Authority) reload() error {
	err := a.load()
	if errors.Is(err, fs.ErrNotExist) && a.external == "" {
		if restored := a.store.Create(a.kept); restored != nil && !errors.Is(restored, fs.ErrExist) {
			return fmt.Errorf("%s is gone, and cannot be put back: %w", a.store, restored)
		}
		return a.load()
	}
	return err
}
