package files

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// watching starts a watch that polls so seldom, or so often, as given, and ends
// it with the test.
func watching(t *testing.T, dir string, poll time.Duration) <-chan struct{} {
	t.Helper()
	changed := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		watch(ctx, dir, changed, pace{settle: 20 * time.Millisecond, patience: 200 * time.Millisecond, poll: poll})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Error("the watch outlives its context")
		}
	})
	return changed
}

const seldom = time.Hour

// noticed waits for the signal that follows a change.
func noticed(t *testing.T, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(5 * time.Second):
		t.Fatal("the change was not noticed")
	}
}

// quiet waits until no more signals come. On a busy machine one change may take
// longer than the settling time and be told twice, but not over and over.
func quiet(t *testing.T, changed <-chan struct{}) {
	t.Helper()
	for range 3 {
		select {
		case <-changed:
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
	t.Fatal("signals without a change")
}

func TestWatch(t *testing.T) {
	for name, poll := range map[string]time.Duration{"by notification": seldom, "by polling": 30 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, sub := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "deep", "er")
			write(t, path, "a")
			changed := watching(t, dir, poll)
			noticed(t, changed) // it watches now
			quiet(t, changed)
			for _, change := range []func(){
				func() { write(t, path, "b") },
				func() { // an editor's atomic replacement
					write(t, filepath.Join(dir, "new"), "c")
					if err := os.Rename(filepath.Join(dir, "new"), path); err != nil {
						t.Fatal(err)
					}
				},
				func() { write(t, filepath.Join(sub, "b.yaml"), "b") },
				func() { write(t, filepath.Join(sub, "b.yaml"), "c") },
				func() { os.RemoveAll(sub) },
				func() { os.Remove(path) },
			} {
				change()
				noticed(t, changed)
				quiet(t, changed)
			}
		})
	}
}

func TestWatchFolderMadeAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "manifests")
	changed := watching(t, dir, 30*time.Millisecond)
	noticed(t, changed)
	for _, text := range []string{"a", "b"} {
		write(t, filepath.Join(dir, "a.yaml"), text)
		noticed(t, changed)
		quiet(t, changed)
		write(t, filepath.Join(dir, "a.yaml"), text+"!")
		noticed(t, changed)
		quiet(t, changed)
		os.RemoveAll(dir)
		noticed(t, changed)
		quiet(t, changed)
	}
}

// However long a folder keeps changing, and whether or not anybody listens, a
// signal comes and the writer is not held up.
func TestWatchCoalesces(t *testing.T) {
	dir := t.TempDir()
	changed := watching(t, dir, seldom)
	noticed(t, changed)
	deadline := time.After(5 * time.Second)
	for n := 0; len(changed) == 0; n++ {
		select {
		case <-deadline:
			t.Fatal("no signal while the folder kept changing")
		default:
			write(t, filepath.Join(dir, "a.yaml"), string(rune('a'+n%26)))
			time.Sleep(time.Millisecond)
		}
	}
	time.Sleep(300 * time.Millisecond)
	<-changed
	quiet(t, changed)
}
