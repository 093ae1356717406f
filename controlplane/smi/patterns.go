package smi

import (
	"github.com/wasmesh/wasmesh/filters/automaton"
	"github.com/wasmesh/wasmesh/filters/pattern"
)

// patterns holds what has been compiled, by expression. One lives as long as one
// Snapshot or one Settle, which looks at nearly the same objects up to three
// times: with 10,000 groups compiling is most of what either does.
type patterns map[expression]compiled

// expression is a regular expression and what it is for.
type expression struct {
	text string
	// path: it describes a path, else the value of a header.
	path bool
}

// compiled is an automaton that nobody changes, or why there is none.
type compiled struct {
	automaton *automaton.Automaton
	err       error
}

func (p patterns) compile(e expression, settings Settings) compiled {
	c, ok := p[e]
	if ok {
		return c
	}
	switch {
	case !e.path:
		c.automaton, c.err = pattern.Value(e.text)
	case settings.PathFull:
		c.automaton, c.err = pattern.PathFull(e.text)
	default:
		c.automaton, c.err = pattern.Path(e.text)
	}
	p[e] = c
	return c
}
