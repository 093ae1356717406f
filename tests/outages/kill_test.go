package outages

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// victims are killed in turn. zero: nothing may be lost by it. Envoy ends with its
// sidecar and the sidecar with its Envoy, on purpose: a proxy that nobody renews
// for and a process without its proxy are both worse than a restart.
var victims = []struct {
	name string
	zero bool
}{
	{controlPlane, true},
	{storeSidecar, false},
	{callerSidecar, false},
	{storeEnvoy, false},
	{callerEnvoy, false},
	{app, false},
}

// Each process is killed under load and started again at once, as a supervisor
// does. The table says what was lost and for how long.
func testKills(t *testing.T, s *site) {
	rounds := 1
	if *long {
		rounds = 5
	}
	l := startLoad(t, *rate/2)
	defer l.stop()
	time.Sleep(500 * time.Millisecond)
	sum, sums := 0, map[string]int{}
	t.Logf("%-18s | %5s | %6s | %6s | %8s | %s", "killed", "round", "sent", "lost", "for", "what callers got instead")
	for round := range rounds {
		for _, v := range victims {
			killed := time.Now()
			s.kill(v.name)
			s.must(startTimeout, "an answer after "+v.name+" was killed", answers(allowedPath, http.StatusOK))
			s.must(applyTimeout, "a denial after "+v.name+" was killed", answers(deniedPath, http.StatusForbidden))
			s.ready(startTimeout, caller, store)
			time.Sleep(500 * time.Millisecond)
			c := l.between(killed, time.Now())
			t.Logf("%-18s | %5d | %6d | %6d | %8v | %v", v.name, round+1, c.sent, c.lost, c.gap(), c.causes)
			sums[v.name] += c.lost
			if v.zero {
				sum += c.lost
			}
			if c.opened > 0 {
				t.Errorf("%d requests got what is denied when %s was killed", c.opened, v.name)
			}
		}
	}
	t.Logf("lost in all: %v; where the design says zero: %d", sums, sum)
	if sum > 0 {
		t.Errorf("%d requests were lost where the design says zero", sum)
	}
}

// kill ends a process without a word and has it started again.
func (s *site) kill(name string) {
	s.t.Helper()
	switch name {
	case callerEnvoy, storeEnvoy:
		sidecar := callerSidecar
		if name == storeEnvoy {
			sidecar = storeSidecar
		}
		if err := syscall.Kill(s.childOf(s.running[sidecar].PID()), syscall.SIGKILL); err != nil {
			s.t.Fatal(err)
		}
		<-s.running[sidecar].Ended()
		s.start(sidecar)
	default:
		s.running[name].Kill()
		s.start(name)
	}
}

// childOf is the one process that a process has started.
func (s *site) childOf(pid int) int {
	s.t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, thread := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, thread.Name()))
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, strings.Fields(string(text))...)
	}
	if len(all) != 1 {
		s.t.Fatalf("process %d has the children %v, want one", pid, all)
	}
	child, err := strconv.Atoi(all[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return child
}
