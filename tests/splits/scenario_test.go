package splits

import (
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// scenario is one behaviour: what it says, the splits, and what becomes of
// requests under them.
type scenario struct {
	name, file string
	rows       []int
	policy     []byte
	requests   []request
	// problems are what the control plane has to say: effect, object and field.
	problems []string
}

// request is one line of a scenario:
//
//	caller -> service:port  METHOD  target  {'name: value'}  N x  {outcome share}
//
// An outcome is the workload that answers, or the status of the answer; a share
// is 75% or 1/3. An outcome that is not named never happens.
type request struct {
	at, text string
	from, to string
	port     uint16
	method   string
	target   string
	headers  []policy.Header
	n        int
	want     shares
}

// shares are probabilities by outcome.
type shares map[string]*big.Rat

func (s shares) String() string {
	var words []string
	for outcome, share := range s {
		if share.Sign() > 0 {
			words = append(words, outcome+" "+share.RatString())
		}
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// add gives an outcome a further share.
func (s shares) add(outcome string, share *big.Rat) {
	if s[outcome] == nil {
		s[outcome] = new(big.Rat)
	}
	s[outcome].Add(s[outcome], share)
}

var (
	rowsText    = regexp.MustCompile(`\(smi-rules ([0-9, ]+)\)`)
	headerText  = regexp.MustCompile(`'([^':]+): ?([^']*)'`)
	requestText = regexp.MustCompile(`^(\S+) -> ([a-z0-9-]+):([0-9]+) +([A-Z]+) +(\S+) +((?:'[^']*' +)*)([0-9]+) x +(.*)$`)
)

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
		failures = append(failures, err)
		all = append(all, s)
	}
	return all, errors.Join(failures...)
}

func parseScenario(file string, text []byte) (scenario, error) {
	s := scenario{file: file, name: strings.TrimSuffix(filepath.Base(file), ".txtar")}
	archive := txtar.Parse(text)
	rows := rowsText.FindStringSubmatch(string(archive.Comment))
	if rows == nil || strings.HasPrefix(strings.TrimSpace(string(archive.Comment)), "(") {
		return s, fmt.Errorf("%s:1: write a sentence that says the behaviour, and the rows it covers, such as (smi-rules 54, 55)", file)
	}
	for _, row := range strings.Split(rows[1], ",") {
		n, err := strconv.Atoi(strings.TrimSpace(row))
		if err != nil {
			return s, fmt.Errorf("%s: %q is not a list of rows", file, rows[0])
		}
		s.rows = append(s.rows, n)
	}
	for _, part := range archive.Files {
		switch part.Name {
		case "policy.yaml":
			s.policy = part.Data
		case "problems":
			s.problems = linesOf(string(part.Data))
		case "requests":
			for _, line := range linesOf(string(part.Data)) {
				r, err := parseRequest(line)
				if err != nil {
					return s, fmt.Errorf("%s: %w", file, err)
				}
				r.at = file
				s.requests = append(s.requests, r)
			}
		default:
			return s, fmt.Errorf("%s: a scenario has no part named %q", file, part.Name)
		}
	}
	if len(s.requests) == 0 {
		return s, fmt.Errorf("%s: there is no request in it, so it could not fail", file)
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

func parseRequest(line string) (request, error) {
	m := requestText.FindStringSubmatch(line)
	if m == nil {
		return request{}, fmt.Errorf("%q is not: caller -> service:port METHOD target ['name: value' ...] N x outcome share ...", line)
	}
	r := request{text: line, from: m[1], to: m[2], method: m[4], target: m[5], want: shares{}}
	port, err := strconv.ParseUint(m[3], 10, 16)
	if err != nil {
		return r, fmt.Errorf("%q: %w", line, err)
	}
	r.port = uint16(port)
	for _, h := range headerText.FindAllStringSubmatch(m[6], -1) {
		r.headers = append(r.headers, policy.Header{Name: h[1], Value: h[2]})
	}
	if strings.Count(m[6], "'") != 2*len(r.headers) {
		return r, fmt.Errorf("%q: a header is 'name: value'", line)
	}
	if r.n, err = strconv.Atoi(m[7]); err != nil || r.n == 0 {
		return r, fmt.Errorf("%q: no requests could not fail", line)
	}
	words := strings.Fields(m[8])
	sum := new(big.Rat)
	for i := 0; i+1 < len(words); i += 2 {
		text, percent := strings.CutSuffix(words[i+1], "%")
		share, ok := new(big.Rat).SetString(text)
		if !ok {
			return r, fmt.Errorf("%q: %q is not a share, such as 75%% or 1/3", line, words[i+1])
		}
		if percent {
			share.Quo(share, big.NewRat(100, 1))
		}
		r.want.add(words[i], share)
		sum.Add(sum, share)
	}
	if len(words)%2 != 0 || sum.Cmp(big.NewRat(1, 1)) != 0 {
		return r, fmt.Errorf("%q: the shares add up to %s, not to everything", line, sum.RatString())
	}
	return r, nil
}

// host is the Host header: that of the line, or what an application that knows
// the service by name would send.
func (r request) host() string {
	for _, h := range r.headers {
		if strings.EqualFold(h.Name, "host") {
			return h.Value
		}
	}
	return r.to + "." + serverNamespace + ":" + strconv.Itoa(int(r.port))
}

// others are the headers without Host.
func (r request) others() []policy.Header {
	return slices.DeleteFunc(slices.Clone(r.headers), func(h policy.Header) bool { return strings.EqualFold(h.Name, "host") })
}

// asSeen are a request's headers as proxies read them.
func (r request) asSeen() []policy.Header {
	all := []policy.Header{{Name: ":authority", Value: r.host()}, {Name: ":path", Value: r.target}, {Name: ":method", Value: r.method}}
	for _, h := range r.others() {
		all = append(all, policy.Header{Name: strings.ToLower(h.Name), Value: h.Value})
	}
	return all
}
