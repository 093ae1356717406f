package pattern

import (
	"errors"
	"fmt"
	"regexp/syntax"
)

// An InvalidError says that a text is not a regular expression. Its cause is
// the parser's *syntax.Error.
type InvalidError struct {
	Expr  string
	Cause error
}

// Error names the expression, the cause and what to try.
func (e *InvalidError) Error() string {
	cause, hint := e.Cause.Error(), "check it against https://github.com/google/re2/wiki/Syntax"
	var parse *syntax.Error
	if errors.As(e.Cause, &parse) {
		cause = parse.Code.String()
		if parse.Expr != "" {
			cause += fmt.Sprintf(" at %q", shorten(parse.Expr))
		}
		switch parse.Code {
		case syntax.ErrInvalidPerlOp:
			hint = "RE2 has no look-around; write the alternatives out, or use several matches"
		case syntax.ErrInvalidEscape:
			hint = "RE2 has no back-references; write a literal backslash as \\\\"
		case syntax.ErrInvalidRepeatSize:
			hint = "a repetition counts up from low to high, to 1000 at most, nested ones multiplied"
		}
	}
	return fmt.Sprintf("pattern %q is invalid: %s; %s", shorten(e.Expr), cause, hint)
}

// Unwrap returns the parser's error.
func (e *InvalidError) Unwrap() error { return e.Cause }

// A LimitError says that an expression is valid but too large.
type LimitError struct {
	Expr string
	// What is counted: bytes, ranges beyond ASCII, nodes, states, transitions or steps.
	What string
	// Limit is how many of them are allowed.
	Limit int
}

// Error names the expression, the limit and what to try.
func (e *LimitError) Error() string {
	hint := "replace large counts such as {1,200} by + or *"
	switch e.What {
	case "bytes":
		hint = "split it over several matches, which are alternatives of each other"
	case "ranges":
		hint = `replace ranges beyond ASCII by classes such as \pL`
	case "states", "transitions", "steps":
		hint = "replace large counts by + or *, Unicode classes by ASCII ones, and leave out a leading .*"
	}
	return fmt.Sprintf("pattern %q is too large: more than %d %s; %s", shorten(e.Expr), e.Limit, e.What, hint)
}

// shorten keeps an error on one line, whatever the size of the expression.
func shorten(expr string) string {
	const keep = 60
	if len(expr) <= keep {
		return expr
	}
	return expr[:keep] + "..."
}
