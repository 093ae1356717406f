package connections

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is who runs servers that refuse to run as root.
const nobody = 65534

// program finds an installed program, and fails the test where there is none.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	// Debian keeps PostgreSQL's servers out of the path.
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) > 0 {
		return found[len(found)-1]
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed (%v); on Debian: apt-get install %s", name, err, debian)
	}
	return path
}

// asNobody makes a folder and a way to run programs in it: as another user where
// the tests run as root, so that a server may run at all.
func asNobody(t *testing.T) (dir string, attributes func() *syscall.SysProcAttr) {
	t.Helper()
	dir, err := os.MkdirTemp("", "server")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	root := os.Geteuid() == 0
	if root {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir, func() *syscall.SysProcAttr {
		a := &syscall.SysProcAttr{}
		endsWithParent(a)
		if root {
			a.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		}
		return a
	}
}

// startServer runs a server until the test ends, and waits until it accepts.
func startServer(t *testing.T, cmd *exec.Cmd, at string) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The kernel ends a child with the thread that forked it: this one waits.
		runtime.LockOSThread()
		started <- cmd.Start()
		ended <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // it may have ended already
		select {
		case <-ended:
		case <-time.After(answerTimeout):
			_ = cmd.Process.Kill()
			<-ended
			t.Errorf("%s had to be killed", cmd.Path)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, said.String())
		}
	})
	for deadline := time.Now().Add(serverTimeout); ; time.Sleep(pace) {
		c, err := dial(t.Context(), at)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not accept at %s: %v", cmd.Path, at, err)
		}
	}
}

// serverTimeout covers a start on a machine that has other things to do.
const serverTimeout = 20 * time.Second

// tell runs a client program with an input and returns what it printed.
func tell(ctx context.Context, input string, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(input)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(failed.Bytes()))
	}
	return string(out), err
}
