package delivery

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/tests/usage"
)

// memory is what a process holds, in KB.
type memory struct{ anonymous, resident int }

func (m memory) String() string {
	return fmt.Sprintf("%.1f MB anonymous, %.1f MB resident", float64(m.anonymous)/1024, float64(m.resident)/1024)
}

func memoryOf(t *testing.T, pid int) memory {
	t.Helper()
	var m memory
	for field, to := range map[string]*int{usage.Anonymous: &m.anonymous, usage.Resident: &m.resident} {
		bytes, err := usage.Memory(pid, field)
		if err != nil {
			t.Fatal(err)
		}
		*to = bytes >> 10
	}
	return m
}

// envoyOf finds the Envoy that a sidecar started.
func (s *shop) envoyOf(w mesh.Name) int {
	s.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.SidecarPID(w)))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, task := range tasks {
		children, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(children))); err == nil {
			return pid
		}
	}
	s.t.Fatalf("the sidecar of %s has no child", w)
	return 0
}

// lowest is what a process holds once it has given back what it does not need:
// Envoy releases memory every second.
func lowest(t *testing.T, pid int) memory {
	t.Helper()
	least := memoryOf(t, pid)
	for range 8 {
		time.Sleep(500 * time.Millisecond)
		if m := memoryOf(t, pid); m.resident < least.resident {
			least = m
		}
	}
	return least
}
