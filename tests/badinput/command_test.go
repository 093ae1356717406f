package badinput

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandTimeout bounds a command that should answer at once.
const commandTimeout = 30 * time.Second

// outcome is how a program ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// command runs a program to its end in a folder. One that does not end is
// killed with all that it started.
func command(t *testing.T, dir, program string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s %q did not end within %v; it said\n%s", program, args, commandTimeout, stderr.String())
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// onFullDisk runs a program that can make files and cannot write a byte to them,
// which is how a full disk looks, without a disk to fill.
func onFullDisk(t *testing.T, program string, args ...string) outcome {
	t.Helper()
	return command(t, "", "/bin/sh", append([]string{"-c", `ulimit -f 0; exec "$0" "$@"`, program}, args...)...)
}

// says fails unless the program ended with the code and its stderr has all parts.
func (o outcome) says(t *testing.T, code int, parts ...string) {
	t.Helper()
	if o.code != code || !containsAll(o.stderr, parts) {
		t.Errorf("exit code %d, want %d; it should have said %q, and said\n%s", o.code, code, parts, o.stderr)
	}
	if strings.Contains(o.stderr, "goroutine ") {
		t.Errorf("it crashed:\n%s", o.stderr)
	}
}

// onlyFolders fails if there is a file below dir.
func onlyFolders(t *testing.T, dir string, but ...string) {
	t.Helper()
	for _, path := range filesBelow(t, dir) {
		known := false
		for _, b := range but {
			known = known || strings.HasSuffix(path, b)
		}
		if !known {
			t.Errorf("%s was left", path)
		}
	}
}

func filesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := dir + "/" + e.Name()
		if e.IsDir() {
			paths = append(paths, filesBelow(t, path)...)
		} else {
			paths = append(paths, path)
		}
	}
	return paths
}
