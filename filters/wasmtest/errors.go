package wasmtest

import (
	"errors"
	"fmt"
	"strings"
)

// The reasons why [Compile] refuses a binary. Its errors wrap exactly one.
var (
	ErrNotWasm   = errors.New("not a wasm binary")
	ErrComponent = errors.New("a wasm component, not a core module")
	ErrCorrupt   = errors.New("truncated or corrupt wasm module")
	ErrABI       = errors.New("missing or unknown Proxy-Wasm ABI version")
	ErrImport    = errors.New("import that Envoy does not provide")
	ErrExport    = errors.New("unusable export")
)

// ErrRefused says that the guest ran and answered false.
var ErrRefused = errors.New("the guest answered false")

// ErrTrap says that the guest stopped executing and its VM is lost.
var ErrTrap = errors.New("the guest trapped")

// ErrClosed says that a VM was used after Close, or a plugin after its end.
var ErrClosed = errors.New("closed")

// StartError says which step of a start failed, why, and what the guest had
// logged until then.
type StartError struct {
	// Plugin is the plugin's name; empty while the VM itself starts.
	Plugin string
	// Callback is the guest function that failed, such as proxy_on_configure.
	Callback string
	// Cause wraps ErrRefused or ErrTrap, and the context's error when the
	// context ended the call.
	Cause error
	// Logs are the lines logged during the start, oldest first.
	Logs []LogLine
}

// Error names plugin, callback and cause, and quotes the guest's last lines.
func (e *StartError) Error() string {
	var b strings.Builder
	if e.Plugin != "" {
		fmt.Fprintf(&b, "plugin %q: ", e.Plugin)
	}
	fmt.Fprintf(&b, "%s: %v", e.Callback, e.Cause)
	// A Go guest that panics fills standard error with its traceback, of which
	// the cause already has the one line that matters.
	const quoted = 4
	text := written(e.Logs, !errors.Is(e.Cause, ErrTrap))
	if lines := text[max(0, len(text)-quoted):]; len(lines) > 0 {
		fmt.Fprintf(&b, "; the guest logged: %s", strings.Join(lines, " | "))
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Cause }

// TrapError says where and why a guest stopped executing. It wraps ErrTrap and
// the cause.
type TrapError struct {
	// Callback is the guest function that the host had called.
	Callback string
	// LastWords is the line with which a Go guest gave up, such as
	// "panic: index out of range"; empty if it said nothing.
	LastWords string
	// Stack is the guest's stack, one frame a line, where known.
	Stack string
	cause error
}

// Error names the callback and the guest's last words, or else the cause.
func (e *TrapError) Error() string {
	why, _, _ := strings.Cut(e.cause.Error(), "\n")
	if e.LastWords != "" {
		why = e.LastWords
	}
	return fmt.Sprintf("%v in %s: %s", ErrTrap, e.Callback, why)
}

// Unwrap returns ErrTrap and the cause.
func (e *TrapError) Unwrap() []error { return []error{ErrTrap, e.cause} }

// restrictedError is the panic value that traps a guest which makes a hostcall
// where Envoy allows only a few.
type restrictedError struct{ call, during string }

func (e *restrictedError) Error() string {
	return fmt.Sprintf("hostcall %s is not allowed during %s", e.call, e.during)
}

// exitError is the panic value that traps a guest which exits.
type exitError struct{ code uint32 }

func (e *exitError) Error() string { return fmt.Sprintf("the guest exited with status %d", e.code) }
