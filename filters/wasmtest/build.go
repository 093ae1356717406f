package wasmtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build compiles a main package to a Proxy-Wasm module with the go command, as
// a filter author does: GOOS=wasip1 GOARCH=wasm, -buildmode=c-shared. The
// package is a folder or an import path; arguments are further flags of go
// build. Go's build cache makes repeats cheap. The error carries the
// compiler's output.
func Build(ctx context.Context, pkg, out string, arguments ...string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return fmt.Errorf("build module %s: %w", pkg, err)
	}
	command := []string{"build", "-buildmode=c-shared", "-trimpath", "-o", out}
	command = append(command, arguments...)
	cmd := exec.CommandContext(ctx, "go", command...)
	if info, err := os.Stat(pkg); err == nil && info.IsDir() {
		cmd.Dir = pkg
		cmd.Args = append(cmd.Args, ".")
	} else {
		cmd.Args = append(cmd.Args, pkg)
	}
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build module %s: %w: %s", pkg, err, bytes.TrimSpace(output))
	}
	return nil
}
