package scenarios

import (
	"slices"
	"testing"
)

// The rows of the rules that speak of access and of routes.
const firstRow, lastRow = 1, 53

// TestRowsAreCovered wants a scenario for each of them.
func TestRowsAreCovered(t *testing.T) {
	all, err := readScenarios()
	if err != nil {
		t.Fatal(err)
	}
	var covered []int
	for _, s := range all {
		covered = append(covered, s.rows...)
	}
	for row := firstRow; row <= lastRow; row++ {
		if !slices.Contains(covered, row) {
			t.Errorf("no scenario covers smi-rules %d", row)
		}
	}
}
