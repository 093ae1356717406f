package metrics

import (
	"encoding/pem"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// freeze stops the Envoy of a workload where it is, until resume.
func (c *caller) freeze(t *testing.T, w mesh.Name) (resume func()) {
	t.Helper()
	parent := strconv.Itoa(c.SidecarPID(w))
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) > 1 && fields[1] == parent {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			resumed := false
			resume = func() {
				if !resumed {
					resumed = true
					_ = syscall.Kill(pid, syscall.SIGCONT)
				}
			}
			t.Cleanup(resume)
			return resume
		}
	}
	t.Fatalf("the sidecar of %s has no child", w)
	return nil
}
