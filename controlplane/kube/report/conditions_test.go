package report

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

func TestConditions(t *testing.T) {
	for name, c := range map[string]struct {
		notes           []Note
		accepted, force string
	}{
		"fine":           {nil, "True Valid ", "True AllOfIt "},
		"broken":         {[]Note{note("a", mesh.Broken)}, "False Invalid cause", "False Invalid cause"},
		"inert":          {[]Note{note("a", mesh.Inert)}, "True Valid ", "False NoEffect cause"},
		"refused":        {[]Note{note("a", mesh.Refused)}, "True Valid ", "False Refused cause"},
		"warning":        {[]Note{note("a", mesh.Warning)}, "True Valid ", "True AllOfIt cause"},
		"broken, warned": {[]Note{note("a", mesh.Broken), note("a", mesh.Warning)}, "False Invalid cause", "False Invalid cause\ncause"},
	} {
		t.Run(name, func(t *testing.T) {
			foreign := metav1.Condition{Type: "Ours", Status: metav1.ConditionTrue}
			got, changed := Conditions(at(0), 3, []metav1.Condition{foreign}, c.notes)
			if !changed || len(got) != 3 || got[0] != foreign {
				t.Fatalf("conditions are %v %+v", changed, got)
			}
			for i, want := range []string{c.accepted, c.force} {
				if s := string(got[i+1].Status) + " " + got[i+1].Reason + " " + got[i+1].Message; s != want || got[i+1].ObservedGeneration != 3 {
					t.Errorf("%s is %q, want %q", got[i+1].Type, s, want)
				}
			}
			if again, changed := Conditions(at(60), 3, got, c.notes); changed || again[1].LastTransitionTime != got[1].LastTransitionTime {
				t.Error("time alone changes a condition")
			}
			later, changed := Conditions(at(60), 4, got, c.notes)
			if !changed || later[1].ObservedGeneration != 4 || later[1].LastTransitionTime != got[1].LastTransitionTime {
				t.Errorf("another generation gives %+v", later[1])
			}
		})
	}
}
