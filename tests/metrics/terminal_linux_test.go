package metrics

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal gives both ends of a terminal of 120 columns.
func openTerminal(t *testing.T) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120}); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return screen, program
}

// liveTop: in a terminal the table is drawn again and again, each time over the one
// before, until the user ends it.
func liveTop(t *testing.T, c *caller) {
	t.Helper()
	screen, terminal := openTerminal(t)
	top := exec.CommandContext(t.Context(), programs.Wasmesh, "top", "-t", "1m", "--every", "200ms", "--status", c.StatusSocket())
	top.Stdin, top.Stdout, top.Stderr = terminal, terminal, terminal
	if err := top.Start(); err != nil {
		t.Fatal(err)
	}
	const redraw, frames = "\x1b[H\x1b[J", 4
	seen, buffer := strings.Builder{}, make([]byte, 4096)
	began := time.Now()
	for strings.Count(seen.String(), redraw) < frames && time.Since(began) < 20*time.Second {
		n, err := screen.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		seen.Write(buffer[:n])
	}
	took := time.Since(began)
	if err := top.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := top.Wait(); err != nil {
		t.Errorf("interrupted, it ends with %v", err)
	}
	drawn := strings.Split(seen.String(), redraw)
	if len(drawn) <= frames || drawn[0] != "" || took < (frames-1)*200*time.Millisecond {
		t.Fatalf("%d frames after %v: %q", len(drawn)-1, took, seen.String())
	}
	for _, frame := range drawn[1:frames] {
		if !strings.Contains(frame, "shop/workload/store") || !strings.Contains(frame, "80.0") {
			t.Errorf("a frame is %q", frame)
		}
	}
}
