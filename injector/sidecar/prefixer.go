package sidecar

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

const (
	keptLines = 20
	maxLine   = 4 << 10 // bytes; what is longer is broken into several lines
)

// prefixer passes lines on with "envoy: " before each, so that two programs can
// share one log, and remembers the last ones.
type prefixer struct {
	out io.Writer

	mu      sync.Mutex
	partial []byte
	lines   []string
}

// Write never fails: a full log must not end Envoy.
func (p *prefixer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.partial = append(p.partial, b...)
	for {
		end := bytes.IndexByte(p.partial, '\n')
		if end < 0 && len(p.partial) < maxLine {
			return len(b), nil
		}
		if end < 0 || end > maxLine {
			p.emit(p.partial[:maxLine])
			p.partial = p.partial[maxLine:]
			continue
		}
		p.emit(p.partial[:end])
		p.partial = p.partial[end+1:]
	}
}

func (p *prefixer) emit(line []byte) {
	text := string(line)
	_, _ = io.WriteString(p.out, "envoy: "+text+"\n")
	if p.lines = append(p.lines, text); len(p.lines) > keptLines {
		p.lines = p.lines[1:]
	}
}

func (p *prefixer) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.partial) > 0 {
		p.emit(p.partial)
		p.partial = nil
	}
}

// last returns the last lines, without the prefix.
func (p *prefixer) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}
