package controlplane

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wasmesh/wasmesh/controlplane/files"
)

// watchFile signals changed when a file changed. Its folder is watched, since a
// file may be replaced; what else happens there, such as a log that grows, is
// nobody's business.
func watchFile(ctx context.Context, file string, changed chan<- struct{}) {
	folder := make(chan struct{}, 1)
	go files.Watch(ctx, filepath.Dir(file), folder)
	known, _ := os.Stat(file)
	for {
		select {
		case <-ctx.Done():
			return
		case <-folder:
			if now, _ := os.Stat(file); !sameContent(known, now) {
				known = now
				signal(changed)
			}
		}
	}
}

// sameContent compares what is told of a file without reading it; nil is a file
// that is not there.
func sameContent(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}
