package demo

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demoVariable makes this test binary a demo instead: "source work".
const demoVariable = "BOOKSTORE_DEMO_TEST"

const binaries = "../../../bin"

func TestMain(m *testing.M) {
	source, work, ok := strings.Cut(os.Getenv(demoVariable), " ")
	if !ok {
		os.Exit(m.Run())
	}
	o := Options{Source: source, Bin: binaries, Tools: "../../../.tools", Work: work}
	if err := Run(context.Background(), o, os.Stdout); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// elsewhere copies the example to addresses that no other demo uses.
func elsewhere(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("../*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("the example has no manifests", err)
	}
	move := strings.NewReplacer("127.10.", "127.210.", "127.20.", "127.220.", "127.3", "127.23")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(move.Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A demo that is killed has no chance to clean up; the kernel does. The next one
// comes up all the same.
func TestAKilledDemoLeavesNothingAndCanBeRepeated(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts Envoys")
	}
	if _, err := os.Stat(filepath.Join(binaries, "wasmesh-sidecar")); err != nil {
		t.Fatal("the binaries are not built: run make build first")
	}
	source := elsewhere(t)
	for _, how := range []syscall.Signal{syscall.SIGKILL, syscall.SIGHUP} {
		work := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), demoVariable+"="+source+" "+work)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		awaitRunning(t, bufio.NewScanner(out))
		if found := inside(t, work); len(found) < 15 {
			t.Errorf("only %d processes run: %v", len(found), found)
		}
		if err := cmd.Process.Signal(how); err != nil {
			t.Fatal(err)
		}
		for begun := time.Now(); len(inside(t, work)) > 0; time.Sleep(50 * time.Millisecond) {
			if time.Since(begun) > 20*time.Second {
				t.Fatalf("after %v, these are left: %v", how, inside(t, work))
			}
		}
		if err := cmd.Wait(); how == syscall.SIGHUP && err != nil {
			t.Errorf("asked to end, the demo failed: %v", err)
		}
	}
	if _, err := os.Stat(memoryOf()); err == nil {
		t.Errorf("%s is left, and has keys", memoryOf())
	}
}

// inside lists the processes of the demo: its Envoys live in the folder in
// memory, everything else in the work folder.
func inside(t *testing.T, work string) []string {
	t.Helper()
	found, err := Leftovers([]string{work, memoryOf()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func memoryOf() string { return fmt.Sprintf("/dev/shm/wasmesh-demo-%d-127.210.0.1", os.Geteuid()) }

func awaitRunning(t *testing.T, lines *bufio.Scanner) {
	t.Helper()
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if strings.Contains(lines.Text(), "the bookstore runs") {
			return
		}
	}
	t.Fatalf("the demo did not come up:\n%s", strings.Join(said, "\n"))
}
