package outages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// shortLife has a certificate renewed every ten seconds.
	shortLife = 20 * time.Second
	// controlPlaneDisk has room for the module, and not for much more.
	controlPlaneDisk = "size=16m"
	sidecarDisk      = "size=256k"
)

// smallDisk mounts a disk at path, which only root may.
func smallDisk(t *testing.T, path, size string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk; tests/badinput shows the same folders without room by other means")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, size+",mode=0700"); err != nil {
		t.Fatal(err)
	}
	// What still runs keeps what it has open; the folder is an empty one again.
	t.Cleanup(func() {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill writes until there is no room for one byte, and returns what makes room.
func fill(t *testing.T, folder string) (empty func()) {
	t.Helper()
	path := filepath.Join(folder, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	f.Close()
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// Both state folders run full while certificates must be renewed: it is told, what
// was good serves, edits go on, and all heals when there is room.
func TestDisksThatFill(t *testing.T) {
	var callerDisk string
	s := open(t, func(s *site) {
		s.lifetime = shortLife
		smallDisk(t, s.state, controlPlaneDisk)
		callerDisk = s.sidecarState(caller)
		smallDisk(t, callerDisk, sidecarDisk)
	})
	opened, l := time.Now(), startLoad(t, 50)
	emptyControlPlane, emptyCaller := fill(t, s.state), fill(t, callerDisk)
	s.logged(controlPlane, 0, "refused", "no space left on device")
	s.logged(callerSidecar, 0, "no certificate yet", "its log says why")
	s.allow(allowedPath, "/extra")
	s.must(applyTimeout, "an edit while the disk is full", answers("/extra", http.StatusOK))
	emptyControlPlane()
	s.logged(callerSidecar, 0, "could not be kept", "no space left on device")
	received := strings.Count(s.log(callerSidecar), "certificate received")
	emptyCaller()
	kept := strings.Count(s.log(callerSidecar), "could not be kept")
	s.logged(callerSidecar, received, "certificate received")
	if again := strings.Count(s.log(callerSidecar), "could not be kept"); again > kept {
		t.Errorf("there is room, and the credential could not be kept")
	}
	time.Sleep(time.Until(opened.Add(shortLife + 3*time.Second)))
	s.allow(allowedPath)
	s.must(applyTimeout, "an edit after the first certificates have ended", answers("/extra", http.StatusForbidden))
	l.stop()
	c := l.between(l.began, time.Now())
	t.Logf("while disks were full and after: %v", c)
	if c.lost > 0 || c.opened > 0 {
		t.Errorf("%d requests were lost, %d got what is denied", c.lost, c.opened)
	}
}

// logged waits until more than so many lines of a process's log have all the
// parts.
func (s *site) logged(name string, more int, parts ...string) {
	s.t.Helper()
	s.must(shortLife+applyTimeout, fmt.Sprintf("%s to say %q", name, parts), func(context.Context) error {
		n := 0
		for line := range strings.Lines(s.log(name)) {
			all := true
			for _, part := range parts {
				all = all && strings.Contains(line, part)
			}
			if all {
				n++
			}
		}
		if n <= more {
			return fmt.Errorf("it said so %d times", n)
		}
		return nil
	})
}
