package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/tools/txtar"
)

// scenario is one behaviour: what it says, the policy, and what becomes of
// requests under it.
type scenario struct {
	name     string
	file     string
	rows     []int
	policy   []byte
	requests []request
	// problems are what the control plane has to say about the policy, one a
	// line: effect, object and field. A slip of the pen in a policy would
	// otherwise pass for a denial that was meant.
	problems []string
}

const (
	policyFile   = "policy.yaml"
	requestsFile = "requests"
	problemsFile = "problems"
)

// parseScenario reads a scenario. Every error names file and line.
func parseScenario(file string, text []byte) (scenario, error) {
	s := scenario{file: file, name: strings.TrimSuffix(filepath.Base(file), ".txtar")}
	archive := txtar.Parse(text)
	var err error
	if s.rows, err = rowsOf(string(archive.Comment)); err != nil {
		return s, fmt.Errorf("%s:1: %w", file, err)
	}
	line := 1 + strings.Count(string(archive.Comment), "\n")
	seen := map[string]bool{}
	for _, part := range archive.Files {
		if seen[part.Name] {
			return s, fmt.Errorf("%s:%d: there are two parts named %s", file, line, part.Name)
		}
		seen[part.Name] = true
		switch part.Name {
		case policyFile:
			s.policy = part.Data
		case requestsFile:
			if s.requests, err = parseRequests(file, line+1, string(part.Data)); err != nil {
				return s, err
			}
		case problemsFile:
			s.problems = linesOf(string(part.Data))
		default:
			return s, fmt.Errorf("%s:%d: a scenario has no part named %q; it has %s, %s and, where there are some, %s",
				file, line, part.Name, policyFile, requestsFile, problemsFile)
		}
		line += 1 + strings.Count(string(part.Data), "\n")
	}
	switch {
	case !seen[policyFile]:
		return s, fmt.Errorf("%s:%d: the part -- %s -- is missing; leave it empty for no policy at all", file, line, policyFile)
	case len(s.requests) == 0:
		return s, fmt.Errorf("%s:%d: there is no request in it, so it could not fail", file, line)
	}
	return s, nil
}

// linesOf returns the lines that say something.
func linesOf(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

var rowsText = regexp.MustCompile(`\(smi-rules ([0-9, ]+)\)`)

// rowsOf returns the rows of the rules that a scenario says it covers.
func rowsOf(comment string) ([]int, error) {
	m := rowsText.FindStringSubmatch(comment)
	if m == nil {
		return nil, errors.New("the text does not end with the rows it covers, such as (smi-rules 7, 8)")
	}
	if strings.TrimSpace(comment[:strings.Index(comment, m[0])]) == "" {
		return nil, errors.New("it does not say what behaviour this is; write a sentence first")
	}
	var rows []int
	for _, text := range strings.Split(m[1], ",") {
		row, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%q is not a list of rows", m[0])
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// readScenarios reads all of testdata.
func readScenarios() ([]scenario, error) {
	paths, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil {
		return nil, err
	}
	var all []scenario
	var failures []error
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		s, err := parseScenario(path, text)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		all = append(all, s)
	}
	return all, errors.Join(failures...)
}
