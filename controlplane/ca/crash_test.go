package ca

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// victim is the variable by which a copy of the test is told to be the control
// plane that is killed.
const victim = "WASMESH_CA_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victim); dir != "" {
		if err := live(dir, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// live spends tokens, renews and rotates until it is killed, and says what it has
// finished. Each token is offered twice.
func live(dir string, tokens []string) error {
	a, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	for _, text := range tokens {
		workload, renewal, err := a.Redeem(text, admitAll)
		if err != nil {
			return err
		}
		fmt.Println("spent", text)
		if _, _, err := a.Redeem(text, admitAll); err == nil {
			fmt.Println("spent", text)
		}
		next, err := a.Renew(workload, renewal, func() error { return nil })
		if err != nil {
			return err
		}
		fmt.Println("renewed", workload, next)
		if _, err := a.Rotate(following[a.roots.Load().last()], true); err != nil {
			return err
		}
	}
	return nil
}

// The control plane is killed at any moment of joins, renewals and rotations. What
// it had finished holds, no token works twice, and nothing is left half.
func TestKilledAtAnyMoment(t *testing.T) {
	a, _ := open(t)
	killed := 0
	for round := range 30 {
		var tokens []string
		for i := range 12 {
			text, err := a.CreateToken(mesh.Name{Namespace: "shop", Name: fmt.Sprintf("w%d-%d", round, i)}, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, text)
		}
		spent, renewed, died := runVictim(t, a.dir, tokens, time.Duration(rand.IntN(25_000))*time.Microsecond)
		if died {
			killed++
		}
		b, err := Open(a.dir, Options{})
		if err != nil {
			t.Fatalf("after a kill: %v", err)
		}
		for i, text := range tokens {
			_, _, err := b.Redeem(text, admitAll)
			switch n := spent[text]; {
			case n > 1, n == 1 && err == nil:
				t.Errorf("token %d of round %d worked twice", i, round)
			case n == 0 && err != nil:
				// Spent, and the answer was lost with the process: never the other way.
				wantRefusal(t, err, "used already")
			}
		}
		for workload, renewal := range renewed {
			name, _ := mesh.ParseName(workload)
			if _, err := b.Renew(name, renewal, func() error { return nil }); err != nil {
				t.Errorf("a credential of before the kill: %v", err)
			}
		}
		a = b
	}
	if killed < 10 {
		t.Errorf("only %d of 30 were killed at work", killed)
	}
	for _, pattern := range []string{"tokens/*.json", "tokens/used/*.json", "workloads/*.json"} {
		files, _ := filepath.Glob(filepath.Join(a.dir, pattern))
		for _, path := range files {
			if data, err := os.ReadFile(path); err != nil || !strings.HasSuffix(strings.TrimSpace(string(data)), "}") {
				t.Errorf("%s is half written", path)
			}
		}
	}
}

// runVictim runs a copy of this program and kills it some time after it has begun.
func runVictim(t *testing.T, dir string, tokens []string, after time.Duration) (spent map[string]int, renewed map[string]string, died bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], tokens...)
	cmd.Env = append(os.Environ(), victim+"="+dir)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	spent, renewed = map[string]int{}, map[string]string{}
	for s := bufio.NewScanner(out); s.Scan(); {
		switch words := strings.Fields(s.Text()); words[0] {
		case "open":
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		case "spent":
			spent[words[1]]++
		case "renewed":
			renewed[words[1]] = words[2]
		}
	}
	err = cmd.Wait()
	if complaint.Len() > 0 {
		t.Errorf("it did not get as far: %s", complaint.String())
	}
	return spent, renewed, err != nil
}

// Two sidecars of one state folder, or one whose answer was lost, renew at the
// same moment: both get a certificate, and either can go on.
func TestRenewalsRace(t *testing.T) {
	for range 20 {
		a, _ := open(t)
		workload, renewal, err := a.Redeem(token(t, a), admitAll)
		if err != nil {
			t.Fatal(err)
		}
		var next [2]string
		var wg sync.WaitGroup
		for i := range next {
			wg.Go(func() {
				var err error
				if next[i], err = a.Renew(workload, renewal, func() error { return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if next[0] == next[1] {
			t.Fatal("both have the same credential")
		}
		last := next[0]
		for range 2 * maxCredentials {
			if last, err = a.Renew(workload, last, func() error { return nil }); err != nil {
				t.Fatalf("locked out: %v", err)
			}
		}
		_, err = a.Renew(workload, renewal, func() error { return nil })
		wantRefusal(t, err, "wrong or was replaced")
	}
}
