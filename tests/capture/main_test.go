// Package capture has pods talk through sidecars that their connections are
// redirected to: network namespaces with both address families, the rules of
// wasmesh-redirect, real certificates, real Envoys.
//
// It needs root, for the namespaces. All of them lie below one that belongs to
// the test's own process: it never touches the machine's network, and nothing is
// left when the process has ended, however it ends.
package capture

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// inside is the variable by which a process that is in its own namespace knows.
const inside = "WASMESH_CAPTURE_TEST"

// built are the programs under test.
type built struct {
	rig.Programs
	Redirect string
}

var programs built

func TestMain(m *testing.M) {
	if text := os.Getenv(inside); text != "" {
		if err := json.Unmarshal([]byte(text), &programs); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "capture: not run: network namespaces need root")
		os.Exit(0)
	}
	os.Exit(rig.Main("capture", filepath.Join("..", ".."), &programs.Programs, again))
}

// again runs the tests in a process with a network of its own.
func again() int {
	code, err := runInside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "capture:", err)
		return 1
	}
	return code
}

func runInside() (int, error) {
	programs.Redirect = filepath.Join(filepath.Dir(programs.Wasmesh), "wasmesh-redirect")
	build := exec.Command("go", "build", "-o", programs.Redirect, "github.com/wasmesh/wasmesh/injector/wasmesh-redirect")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building wasmesh-redirect: %w: %s", err, out)
	}
	text, err := json.Marshal(programs)
	if err != nil {
		return 1, err
	}
	self := exec.Command(os.Args[0], os.Args[1:]...)
	self.Env = append(self.Environ(), inside+"="+string(text))
	self.Stdin, self.Stdout, self.Stderr = os.Stdin, os.Stdout, os.Stderr
	self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err = self.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}
