package wasmtest

import (
	"fmt"
	"strings"
	"time"
)

// Level is a log line's severity, numbered as on the wire.
type Level uint32

// The levels a guest can log at.
const (
	LevelTrace Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
	LevelCritical
)

// String returns the level in lower case.
func (l Level) String() string {
	if l > LevelCritical {
		return fmt.Sprintf("level(%d)", uint32(l))
	}
	return [...]string{"trace", "debug", "info", "warn", "error", "critical"}[l]
}

// LogLine is one line of a guest: from proxy_log, or from a write to standard
// output (info) or standard error (error).
type LogLine struct {
	// At is the virtual time.
	At    time.Time
	Level Level
	// Plugin is the name of the plugin whose context logged; empty for the VM.
	Plugin string
	// Context is the id of the context the line is attributed to.
	Context uint32
	Message string
	// raw is what a standard stream was given, newline and all; empty for
	// lines of proxy_log.
	raw string
}

// written puts lines back together that the guest wrote in pieces, and leaves
// standard streams out if asked to.
func written(logs []LogLine, streams bool) []string {
	var b strings.Builder
	for _, l := range logs {
		switch {
		case l.raw == "":
			b.WriteString(l.Message + "\n")
		case streams:
			b.WriteString(l.raw)
		}
	}
	return strings.FieldsFunc(b.String(), func(r rune) bool { return r == '\n' })
}

// lastWords finds the line with which Go's runtime announces its end.
func lastWords(logs []LogLine) string {
	for _, line := range written(logs, true) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line
		}
	}
	return ""
}

// maxLogBytes bounds what a guest that logs without end can make the host keep.
const maxLogBytes = 1 << 20

// logBook keeps the newest lines.
type logBook struct {
	lines []LogLine
	bytes int
}

func (b *logBook) add(line LogLine) {
	if len(line.Message) > maxLogBytes/2 {
		line.Message = line.Message[:maxLogBytes/2]
		line.raw = line.raw[:min(len(line.raw), maxLogBytes/2)]
	}
	b.lines = append(b.lines, line)
	b.bytes += line.size()
	for b.bytes > maxLogBytes {
		b.bytes -= b.lines[0].size()
		b.lines = b.lines[1:]
	}
}

func (l LogLine) size() int {
	const overhead = 128
	return overhead + len(l.Message) + len(l.raw)
}

func (b *logBook) list() []LogLine { return append([]LogLine{}, b.lines...) }
