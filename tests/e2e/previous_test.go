package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	wasmesh "github.com/wasmesh/wasmesh/charts/images"
	"github.com/wasmesh/wasmesh/tests/e2e/agent"
	"github.com/wasmesh/wasmesh/tests/e2e/cluster"
)

// previousTag is that of the images of the build before, which PREVIOUS names.
const previousTag = "previous"

// preparePrevious builds the programs of the build before, and takes its chart,
// from the repository's history, with the machine's network. What is there already
// stays: a commit does not change. A clone without that commit builds none.
func preparePrevious() error {
	text, err := os.ReadFile("PREVIOUS")
	if err != nil {
		return err
	}
	commit := strings.TrimSpace(string(text))
	folder := filepath.Dir(previous("any"))
	stamp := filepath.Join(folder, "commit")
	if built, err := os.ReadFile(stamp); err == nil && string(built) == commit {
		return nil
	}
	began := time.Now()
	source, err := os.MkdirTemp("", "wasmesh-previous-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(source)
	if err := exec.Command("git", "-C", root, "cat-file", "-e", commit+"^{commit}").Run(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: this clone has no commit %s, the build before; to test against it: git fetch --unshallow\n", commit)
		return nil
	}
	var tar, wrong bytes.Buffer
	archive := exec.Command("git", "-C", root, "archive", commit)
	archive.Stdout, archive.Stderr = &tar, &wrong
	if err := archive.Run(); err != nil {
		return fmt.Errorf("the build before, commit %s of tests/e2e/PREVIOUS: %w: %s", commit, err, wrong.String())
	}
	extract := exec.Command("tar", "-x", "-C", source)
	extract.Stdin, extract.Stderr = &tar, os.Stderr
	if err := extract.Run(); err != nil {
		return fmt.Errorf("the build before: %w", err)
	}
	for _, i := range wasmesh.All() {
		for _, p := range i.Programs {
			if err := cluster.GoBuild(source, cluster.Static, "-trimpath", "-buildvcs=false", "-o", previous(p.Name), p.Source); err != nil {
				return err
			}
		}
	}
	wasm := []string{"-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-o", previous("mesh.wasm"), "./filters/modules/mesh"}
	if err := cluster.GoBuild(source, cluster.Wasm, wasm...); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(previous("chart")), os.CopyFS(previous("chart"), os.DirFS(filepath.Join(source, "charts/wasmesh")))); err != nil {
		return fmt.Errorf("the chart of the build before: %w", err)
	}
	fmt.Fprintf(os.Stderr, "e2e: built %.12s, the build before, in %.0f s\n", commit, time.Since(began).Seconds())
	return os.WriteFile(stamp, []byte(commit), 0o644)
}

// previous gives the file of a program of the build before.
func previous(name string) string { return program(filepath.Join(previousTag, name)) }

// addPrevious adds the images of the build before to those of this.
func addPrevious(all agent.Images) {
	for _, i := range wasmesh.All() {
		image := all["wasmesh/"+i.Name]
		files := i.Files(filepath.Dir(previous("any")), previous("mesh.wasm"))
		if envoy, ok := image.Files["/usr/local/bin/envoy"]; ok {
			files["/usr/local/bin/envoy"] = envoy
		}
		image.Files = files
		all["wasmesh/"+i.Name+":"+previousTag] = image
	}
}
