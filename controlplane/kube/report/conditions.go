package report

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// The conditions of our own kinds.
const (
	// Accepted is true where the object can be used as it is written. Where not,
	// its last good form stays in force.
	Accepted = "Accepted"
	// InForce is true where all of it has an effect.
	InForce = "InForce"
)

// maxCondition is how long the message of a condition may be.
const maxCondition = 8 << 10

// Conditions returns the conditions that an object of that generation should
// carry, given those it has and its notes; false if it has them already.
func Conditions(now time.Time, generation int64, have []metav1.Condition, notes []Note) ([]metav1.Condition, bool) {
	accepted := condition(Accepted, generation, notes, func(n Note) bool { return n.Effect == mesh.Broken })
	force := condition(InForce, generation, notes, func(n Note) bool { return n.Effect != mesh.Warning })
	out := append([]metav1.Condition(nil), have...)
	changed := false
	for _, c := range []metav1.Condition{accepted, force} {
		c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
		changed = meta.SetStatusCondition(&out, c) || changed
	}
	return out, changed
}

// condition is false if any note is against it. The others, which are warnings,
// are told in its message.
func condition(kind string, generation int64, notes []Note, against func(Note) bool) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "Valid", ObservedGeneration: generation}
	if kind == InForce {
		c.Reason = "AllOfIt"
	}
	var texts []string
	for _, n := range notes {
		if against(n) && c.Status == metav1.ConditionTrue {
			c.Status, c.Reason = metav1.ConditionFalse, Reason(n.Effect)
		}
		if against(n) || kind == InForce {
			texts = append(texts, n.Text)
		}
	}
	c.Message = strings.Join(texts, "\n")
	if len(c.Message) > maxCondition {
		c.Message = strings.ToValidUTF8(c.Message[:maxCondition-3], "") + "..."
	}
	return c
}
