package capture

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/injector/redirect"
	"github.com/wasmesh/wasmesh/injector/redirect/netfilter"
)

// TestRulesAreReplaced: the program puts the rules in force as a whole, however
// often it runs, and takes them away.
func TestRulesAreReplaced(t *testing.T) {
	s := &space{name: "rules"}
	s.open(t)
	run := func(flags ...string) (string, error) {
		var said strings.Builder
		command := exec.Command(programs.Redirect, flags...)
		command.Stderr = &said
		check(t, s.start(command, 0))
		err := command.Wait()
		return said.String(), err
	}
	for _, flags := range [][]string{{}, {"--exclude-inbound-ports", "1,2", "--exclude-uids", "7"}, {"--exclude-inbound-ports", "1,2", "--exclude-uids", "7"}, {}} {
		if said, err := run(flags...); err != nil {
			t.Fatalf("%v: %v: %s", flags, err, said)
		}
		want := 9
		if len(flags) > 0 {
			want += 3
		}
		if got := len(rulesIn(t, s)); got != want {
			t.Errorf("%v: %d rules are in force, want %d", flags, got, want)
		}
	}
	if said, err := run("--exclude-inbound-ports", "http"); err == nil || !strings.Contains(said, `"http" is not a port`) {
		t.Errorf("a port that is none: %v: %s", err, said)
	}
	if got := len(rulesIn(t, s)); got != 9 {
		t.Errorf("a refused run left %d rules, want the 9 of before", got)
	}
	for range 2 {
		if said, err := run("--remove"); err != nil {
			t.Errorf("removing: %v: %s", err, said)
		}
		if got := len(rulesIn(t, s)); got != 0 {
			t.Errorf("%d rules are left", got)
		}
	}
}

// TestRulesNeedRights: without them the program says what it needs, and fails.
func TestRulesNeedRights(t *testing.T) {
	s := &space{name: "rights"}
	s.open(t)
	var said strings.Builder
	command := exec.Command(programs.Redirect)
	command.Stderr = &said
	check(t, s.start(command, redirect.ProxyUID))
	if err := command.Wait(); err == nil || !strings.Contains(said.String(), "NET_ADMIN") {
		t.Errorf("as another user: %v: %s", err, said.String())
	}
}

func rulesIn(t *testing.T, s *space) []netfilter.Counter {
	t.Helper()
	var all []netfilter.Counter
	var err error
	s.do(func() { all, err = netfilter.Counters() })
	if err != nil && !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
	return all
}
