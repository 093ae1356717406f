package outages

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// usage is what a process holds and has used.
type usage struct {
	memory      int // resident, MB
	descriptors int
	processor   time.Duration
}

func (u usage) String() string {
	return fmt.Sprintf("%d MB, %d descriptors, %v of processor", u.memory, u.descriptors, u.processor)
}

// tick is the unit of processor time that Linux tells, 1/100 s everywhere.
const tick = 10 * time.Millisecond

// uses looks at a process; a figure that cannot be read fails the test.
func uses(t *testing.T, pid int) usage {
	t.Helper()
	var u usage
	folder := filepath.Join("/proc", strconv.Itoa(pid))
	entries, err := os.ReadDir(filepath.Join(folder, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	u.descriptors = len(entries)
	stat, err := os.ReadFile(filepath.Join(folder, "stat"))
	if err != nil {
		t.Fatal(err)
	}
	// The name, in brackets, may hold spaces; the fields count from after it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	pages, err3 := strconv.Atoi(fields[21])
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatalf("%s/stat: %v %v %v", folder, err1, err2, err3)
	}
	u.processor = time.Duration(user+system) * tick
	u.memory = pages * os.Getpagesize() >> 20
	return u
}

// peak follows the largest figures of a process until it is stopped.
type peak struct {
	mu   sync.Mutex
	most usage
	done chan struct{}
	wait sync.WaitGroup
}

func watch(t *testing.T, pid int) *peak {
	p := &peak{done: make(chan struct{})}
	p.wait.Go(func() {
		for {
			now := uses(t, pid)
			p.mu.Lock()
			p.most.memory, p.most.descriptors = max(p.most.memory, now.memory), max(p.most.descriptors, now.descriptors)
			p.most.processor = now.processor
			p.mu.Unlock()
			select {
			case <-p.done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return p
}

func (p *peak) stop() usage {
	close(p.done)
	p.wait.Wait()
	return p.most
}
