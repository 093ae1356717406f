package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wasmesh/wasmesh/controlplane/files"
)

const (
	refresh = time.Second
	// lineEvery is the pace where the output is no terminal and nothing changes.
	lineEvery    = 5 * time.Second
	defaultWidth = 80
)

// The control sequences of a terminal that the screen needs (ECMA-48).
const (
	clearScreen = "\x1b[2J"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
	hideCursor  = "\x1b[?25l"
	showCursor  = "\x1b[?25h"
)

// show looks at the mesh every second until it ends or is asked to.
func (m *Mesh) show(out io.Writer) error {
	begun := time.Now()
	_, terminal := Width(out)
	if terminal {
		fmt.Fprint(out, hideCursor, clearScreen)
		defer fmt.Fprint(out, showCursor)
	} else {
		fmt.Fprintf(out, "the bookstore runs; edit the files in %s and watch; Ctrl-C or SIGTERM ends it\n", m.given)
	}
	var h history
	manifests := &reader{source: files.NewSource(m.options.Source)}
	var lastLine time.Time
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	for {
		h.add(m.take(m.ctx, manifests))
		v := h.view(m.cast, m.given, time.Since(begun))
		v.Module = m.runs
		switch {
		case m.ctx.Err() != nil: // the sample is of a mesh that ends
		case terminal:
			width, _ := Width(out) // the user may have resized it
			v.Colour = os.Getenv("NO_COLOR") == ""
			draw(out, Render(v, width))
		case time.Since(lastLine) >= lineEvery:
			lastLine = time.Now()
			fmt.Fprint(out, Line(v))
		}
		select {
		case <-m.ctx.Done():
			return context.Cause(m.ctx)
		case <-ticker.C:
		}
	}
}

// draw writes over the last screen, so that nothing flickers.
func draw(out io.Writer, screen string) {
	b := []byte(home)
	for i := range len(screen) {
		if screen[i] == '\n' {
			b = append(b, clearLine...)
			b = append(b, '\r')
		}
		b = append(b, screen[i])
	}
	_, _ = out.Write(append(b, clearBelow...)) // nobody looks if it fails
}

// Width reports whether out is a terminal that can move its cursor, and how
// many characters a line of it has.
func Width(out io.Writer) (int, bool) {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return defaultWidth, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return defaultWidth, false
	}
	if size.Col == 0 {
		return defaultWidth, true
	}
	return int(size.Col), true
}
