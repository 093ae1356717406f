package scope

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// steady is how many answers after the first new one have to be new, too.
const steady = 5

// turn is one kind of edit: who notices it, and by which answer.
type turn struct {
	what   string
	policy policy
	caller string
	want   int
}

// testEdits times edits from the write of the file to the first answer that
// follows from it. In between nothing but the old and the new answer may come:
// no gap, no second thoughts.
func testEdits(t *testing.T, s *street) {
	other := policy{grants: []grant{{"store", []string{"buyer"}, "/other"}, usual().grants[1]}}
	turns := []turn{
		{"a path is taken away", other, "buyer", 403},
		{"a path is granted", usual(), "buyer", 200},
		{"a caller is let in", usual().with(grant{"store", []string{"thief"}, "/books"}), "thief", 200},
		{"a caller is shut out", usual(), "thief", 403},
	}
	took := map[string][]time.Duration{}
	var all []time.Duration
	for i := range *edits {
		one := turns[i%len(turns)]
		d, err := s.time(one)
		if err != nil {
			t.Fatalf("edit %d, %s: %v", i+1, one.what, err)
		}
		took[one.what] = append(took[one.what], d)
		all = append(all, d)
		// Edits fall anywhere between two ticks of whatever ticks.
		time.Sleep(time.Duration(50+i*37%150) * time.Millisecond)
	}
	for _, one := range turns {
		t.Logf("%-24s %s", one.what, percentiles(took[one.what]))
	}
	t.Logf("%-24s %s", "all", percentiles(all))
	if limit := cmp.Or(*slowest, 2*time.Second); at(all, 99) > limit {
		t.Errorf("the 99th percentile of %d edits is %v, want at most %v", len(all), at(all, 99), limit)
	}
}

// time makes an edit and asks until the answer turns.
func (s *street) time(one turn) (time.Duration, error) {
	client := http.Client{Timeout: answerTimeout, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	url := "http://" + s.at(one.caller, 8080) + "/books"
	ask := func() (int, error) {
		r, err := client.Get(url)
		if err != nil {
			return 0, err
		}
		return r.StatusCode, r.Body.Close()
	}
	old := 200 + 403 - one.want
	if got, err := ask(); err != nil || got != old {
		return 0, fmt.Errorf("before the edit the answer is %d, %v", got, err)
	}
	began := time.Now()
	s.write(one.policy)
	var took time.Duration
	for turned := 0; turned <= steady; {
		got, err := ask()
		switch {
		case err != nil:
			return 0, err
		case got == one.want && turned == 0:
			took = time.Since(began)
			turned++
		case got == one.want:
			turned++
		case got != old || turned > 0:
			return 0, fmt.Errorf("the answer is %d, %d after %d new ones", got, old, turned)
		case time.Since(began) > applyTimeout:
			return 0, fmt.Errorf("not within %v", applyTimeout)
		default:
			time.Sleep(time.Millisecond)
		}
	}
	return took, nil
}

// at is a percentile: the smallest duration that so many per cent do not exceed.
func at(all []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[(len(sorted)*percent+99)/100-1]
}

func percentiles(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	ms := func(p int) int64 { return at(all, p).Milliseconds() }
	return fmt.Sprintf("%4d edits: p50 %4d ms, p90 %4d ms, p99 %4d ms, slowest %4d ms", len(all), ms(50), ms(90), ms(99), ms(100))
}
