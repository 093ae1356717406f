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

	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// scenario is one behaviour: what it says, and what becomes of requests under a
// policy, or under several that are edits of each other.
type scenario struct {
	name     string
	file     string
	rows     []int
	settings smi.Settings
	steps    []step
}

// step is one policy and what it leads to.
type step struct {
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
	settingsFile = "settings"
)

// partName is policy.yaml, requests or problems, from the second step on with
// the step's number.
var partName = regexp.MustCompile(`^(policy|requests|problems)([2-9]?)(\.yaml)?$`)

// parseScenario reads a scenario. Every error names file and line.
func parseScenario(file string, text []byte) (scenario, error) {
	s := scenario{file: file, name: strings.TrimSuffix(filepath.Base(file), ".txtar"), settings: settings()}
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
		if err := s.add(line, part); err != nil {
			return s, err
		}
		line += 1 + strings.Count(string(part.Data), "\n")
	}
	if !seen[policyFile] {
		return s, fmt.Errorf("%s:%d: the part -- %s -- is missing; leave it empty for no policy at all", file, line, policyFile)
	}
	for i, step := range s.steps {
		if len(step.requests) == 0 {
			return s, fmt.Errorf("%s:%d: there is no request in step %d, so it could not fail", file, line, i+1)
		}
	}
	return s, nil
}

// add reads one part, which begins at a line of the file.
func (s *scenario) add(line int, part txtar.File) (err error) {
	if part.Name == settingsFile {
		if s.settings, err = parseSettings(string(part.Data)); err != nil {
			return fmt.Errorf("%s:%d: %w", s.file, line, err)
		}
		return nil
	}
	m := partName.FindStringSubmatch(part.Name)
	if m == nil || (m[1] == "policy") != (m[3] != "") {
		return fmt.Errorf("%s:%d: a scenario has no part named %q; it has %s, %s and, where there are some, %s and %s; a second step has policy2.yaml, requests2 and problems2",
			s.file, line, part.Name, policyFile, requestsFile, problemsFile, settingsFile)
	}
	number := 1
	if m[2] != "" {
		number = int(m[2][0] - '0')
	}
	switch {
	case m[1] == "policy" && number == len(s.steps)+1:
		s.steps = append(s.steps, step{policy: part.Data})
	case m[1] == "policy" || number != len(s.steps):
		return fmt.Errorf("%s:%d: the part -- %s -- does not stand here; each step is a policy, then its requests, then its problems", s.file, line, part.Name)
	case m[1] == requestsFile:
		s.steps[number-1].requests, err = parseRequests(s.file, line+1, string(part.Data))
	default:
		s.steps[number-1].problems = linesOf(string(part.Data))
	}
	return err
}

// parseSettings reads settings of the whole mesh, one "name: value" a line.
func parseSettings(text string) (smi.Settings, error) {
	s := settings()
	for _, line := range linesOf(text) {
		switch line {
		case "pathMatch: full":
			s.PathFull = true
		case "pathMatch: prefix":
			s.PathFull = false
		default:
			return s, fmt.Errorf("%q is no setting; there is pathMatch: full, or prefix", line)
		}
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
