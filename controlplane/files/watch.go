package files

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pace is how Watch spaces what it does.
type pace struct {
	// settle is how long nothing may happen before a change counts as complete:
	// editors empty a file before they write it.
	settle time.Duration
	// patience is how long a folder that never settles is waited for.
	patience time.Duration
	// poll is the interval between comparisons of the folder with its last state,
	// which see what inotify missed: full queues, network mounts, a folder that
	// was deleted and made again.
	poll time.Duration
}

// Watch sends on changed, without content, soon after anything in the folder
// changed, until ctx ends; then it returns. It never waits for the receiver: a
// channel of capacity 1 makes any number of changes one signal. The first signal
// comes as soon as changes are seen, because of those that came before.
func Watch(ctx context.Context, dir string, changed chan<- struct{}) {
	watch(ctx, dir, changed, pace{settle: 50 * time.Millisecond, patience: time.Second, poll: 2 * time.Second})
}

func watch(ctx context.Context, dir string, changed chan<- struct{}, p pace) {
	known := survey(dir)
	w := newNotifier()
	defer w.close()
	w.add(known)
	signal(changed)
	poll := time.NewTicker(p.poll)
	defer poll.Stop()
	settled := time.NewTimer(time.Hour)
	settled.Stop()
	defer settled.Stop()
	var deadline time.Time // zero while nothing is going on
	notice := func() {
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(p.patience)
		}
		settled.Reset(min(p.settle, deadline.Sub(now)))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-w.events:
			// A bare chmod also follows a mere reading on some systems; the poll
			// compares modes.
			if e.Op != fsnotify.Chmod {
				notice()
			}
		case <-w.errors:
			notice() // events were lost
		case <-poll.C:
			if deadline.IsZero() && !maps.Equal(survey(dir), known) {
				notice()
			}
		case <-settled.C:
			deadline = time.Time{}
			known = survey(dir)
			w.add(known)
			signal(changed)
		}
	}
}

func signal(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// state is what tells two versions of a file apart without reading it.
type state struct {
	size    int64
	mode    fs.FileMode
	changed int64
}

// survey looks at all of a folder. What it cannot look at it leaves out, which
// differs from a survey in which it could.
func survey(dir string) map[string]state {
	out := map[string]state{}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return out
	}
	// The walk's own error is nil: the function never returns one.
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if len(out) > maxEntries {
			return fs.SkipAll
		}
		if path != root && isHidden(e) {
			return skip(e)
		}
		// Stat, not the entry: of a link, the file behind it counts.
		info, statErr := os.Stat(path)
		if err != nil || statErr != nil {
			return nil
		}
		s := state{size: info.Size(), mode: info.Mode(), changed: info.ModTime().UnixNano()}
		if info.IsDir() {
			s.size = 0
		}
		out[path] = s
		return nil
	})
	return out
}

// notifier is inotify where it is to be had. Without it, or with too few
// watches left, the poll alone finds changes, later.
type notifier struct {
	watcher *fsnotify.Watcher
	events  <-chan fsnotify.Event
	errors  <-chan error
}

func newNotifier() notifier {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return notifier{}
	}
	return notifier{watcher: w, events: w.Events, errors: w.Errors}
}

// add watches every folder of a survey. Adding one again changes nothing.
func (n notifier) add(known map[string]state) {
	if n.watcher == nil {
		return
	}
	for path, s := range known {
		if s.mode.IsDir() {
			_ = n.watcher.Add(path) // the poll covers what cannot be watched
		}
	}
}

func (n notifier) close() {
	if n.watcher != nil {
		n.watcher.Close()
	}
}
