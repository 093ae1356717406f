package metricsapi

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

const (
	// MaxAnswer is the longest answer of Prometheus that is read, in bytes.
	MaxAnswer = 64 << 20
	// maxCause is how much of somebody's text is told on.
	maxCause = 200
)

// Queries are what Prometheus is asked, about one moment.
type Queries struct {
	Requests, Durations string
	// Samples tells how many samples a series has in the window, at most: of fewer
	// than two nothing can be said.
	Samples string
}

// Ask returns the queries for a window. A namespace limits them to what reached
// it or, with both directions, also to what left it; empty is all. The namespace
// must be a name of Kubernetes.
func Ask(window time.Duration, namespace string, both, pods bool) Queries {
	by := peerLabels(pods)
	rate := func(metric, more string) string {
		in := func(side string) string {
			selector := ""
			if namespace != "" {
				selector = fmt.Sprintf("{%snamespace=%q}", side, namespace)
			}
			return fmt.Sprintf("increase(%s%s[%s])", metric, selector, promDuration(window))
		}
		what := in(destinationLabel)
		if both && namespace != "" {
			what = "(" + what + " or " + in(sourceLabel) + ")"
		}
		return fmt.Sprintf("sum by (%s,%s) (%s)", by, more, what)
	}
	return Queries{
		Requests: rate(Requests, LabelCode), Durations: rate(Durations+"_bucket", boundLabel),
		Samples: fmt.Sprintf("max(count_over_time(%s[%s]))", Requests, promDuration(window)),
	}
}

// promDuration writes milliseconds: Prometheus takes no fractions.
func promDuration(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

func peerLabels(pods bool) string {
	var out []string
	for _, side := range []string{sourceLabel, destinationLabel} {
		for _, label := range []string{"kind", "namespace", "name"} {
			out = append(out, side+label)
		}
		if pods {
			out = append(out, side+"pod")
		}
	}
	if pods {
		out = append(out, podLabel)
	}
	return strings.Join(out, ",")
}

// podLabel names the pod that was scraped, the destination's, where Prometheus is
// told to keep it.
const podLabel = "pod"

// answer is what Prometheus answers to a query.
type answer struct {
	Status    string `json:"status"`
	ErrorType string `json:"errorType"`
	Error     string `json:"error"`
	Data      struct {
		ResultType string       `json:"resultType"`
		Result     model.Vector `json:"result"`
	} `json:"data"`
	Warnings []string `json:"warnings"`
}

// readAnswer returns the samples of an answer, and Prometheus's warnings.
func readAnswer(text []byte) (model.Vector, []string, error) {
	if len(text) > MaxAnswer {
		return nil, nil, fmt.Errorf("its answer has more than %d bytes", MaxAnswer)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, nil, fmt.Errorf("its answer is not Prometheus's: %w", err)
	}
	if a.Status != "success" {
		return nil, nil, fmt.Errorf("it says %s: %s", clip(a.ErrorType), clip(a.Error))
	}
	if a.Data.ResultType != "vector" {
		return nil, nil, fmt.Errorf("its answer is of the type %q instead of vector", clip(a.Data.ResultType))
	}
	return a.Data.Result, a.Warnings, nil
}

func clip(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) > maxCause {
		return strings.ToValidUTF8(text[:maxCause], "") + "..."
	}
	return text
}

// Answers are those to Queries.
type Answers struct{ Requests, Durations, Samples []byte }

// ReadAnswers makes traffic of Prometheus's answers for a window that ends at a
// moment.
func ReadAnswers(a Answers, at time.Time) (Traffic, error) {
	out := Traffic{At: at}
	all := flows{}
	warn := func(warnings []string) {
		for _, w := range warnings {
			out.Misses = append(out.Misses, Miss{Cause: "has a warning of Prometheus: " + clip(w)})
		}
	}
	requests, warnings, err := readAnswer(a.Requests)
	if err != nil {
		return Traffic{}, err
	}
	warn(warnings)
	for _, sample := range requests {
		k, err := seriesOf(sample.Metric)
		if err != nil {
			return Traffic{}, err
		}
		if k.code = string(sample.Metric[LabelCode]); k.code == "" {
			return Traffic{}, fmt.Errorf("a series of %s lacks the label %s", Requests, LabelCode)
		}
		all.add(k.edge.Value(), k, float64(sample.Value))
	}
	durations, warnings, err := readAnswer(a.Durations)
	if err != nil {
		return Traffic{}, err
	}
	warn(warnings)
	for _, sample := range durations {
		k, err := seriesOf(sample.Metric)
		if err != nil {
			return Traffic{}, err
		}
		if k.bound, err = parseBound(string(sample.Metric[boundLabel])); err != nil {
			return Traffic{}, err
		}
		all.add(k.edge.Value(), k, float64(sample.Value))
	}
	miss, err := tooFew(a.Samples)
	if err != nil {
		return Traffic{}, err
	}
	out.Misses = append(out.Misses, miss...)
	out.Flows = all.list()
	return out, nil
}

func seriesOf(m model.Metric) (series, error) {
	labels := make(map[string]string, len(m))
	for name, value := range m {
		labels[string(name)] = string(value)
	}
	if labels[destinationLabel+podLabel] == "" {
		labels[destinationLabel+podLabel] = labels[podLabel]
	}
	return readSeries(labels)
}

// tooFew tells that a window is shorter than Prometheus's own scrapes are apart:
// everything would look idle.
func tooFew(text []byte) ([]Miss, error) {
	samples, _, err := readAnswer(text)
	if err != nil {
		return nil, err
	}
	for _, s := range samples {
		if n := float64(s.Value); n < 2 || math.IsNaN(n) {
			return []Miss{{Cause: "has fewer than two samples in Prometheus in this window: ask for a longer one"}}, nil
		}
	}
	return nil, nil
}
