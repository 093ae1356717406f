package admission

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"github.com/wasmesh/wasmesh/controlplane/kube/trim"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/wire"
)

const (
	// maxTold bounds the warnings of one answer, and maxWarning one of them: the
	// API server cuts what is longer, and all of them if they are long together.
	maxTold, maxWarning = 12, 256
	// maxRefused bounds the reasons of one refusal.
	maxRefused = 5
)

// respond judges what is asked. What is none of the mesh's kinds, or goes anyway,
// is allowed without a word.
func (h *webhook) respond(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	allowed := &admissionv1.AdmissionResponse{Allowed: true}
	if !ours(r.Kind) || r.SubResource != "" {
		return allowed
	}
	if err := h.reader.Fits(r); err != nil {
		allowed.Warnings = []string{line("not judged before it is stored: " + err.Error())}
		return allowed
	}
	var before []mesh.Problem
	switch r.Operation {
	case admissionv1.Create:
	case admissionv1.Update:
		if old, err := fieldsOf(r, r.OldObject.Raw); err == nil {
			before = Judge(old, nil, h.Settings).Refused
		}
	default:
		return allowed
	}
	fields, err := fieldsOf(r, r.Object.Raw)
	if err != nil {
		return refusal("the object cannot be read: " + err.Error() + ".")
	}
	if metadata, _ := fields["metadata"].(map[string]any); metadata["deletionTimestamp"] != nil {
		return allowed
	}
	v := Judge(fields, h.around(), h.Settings)
	refused, kept := since(before, v.Refused)
	if len(refused) > 0 {
		return refusal(reasons(refused))
	}
	allowed.Warnings = warnings(append(kept, v.Told...))
	return allowed
}

func (h *webhook) around() *smi.Objects {
	if h.Objects == nil {
		return nil
	}
	objects, known := h.Objects()
	if !known {
		return nil
	}
	return &objects
}

// ours reports whether a kind is the mesh's own or SMI's.
func ours(kind metav1.GroupVersionKind) bool {
	for _, k := range wire.Kinds() {
		if k.Name == kind.Kind && k.Group == kind.Group && k.Group != "" {
			return true
		}
	}
	return false
}

// fieldsOf decodes an object. Its namespace is the request's; one whose name the
// API server still has to make up gets one for the while. What is nobody's
// writing, such as the status, is left out.
func fieldsOf(r *admissionv1.AdmissionRequest, raw []byte) (map[string]any, error) {
	var fields map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &fields); err != nil {
		return nil, err
	}
	metadata, ok := fields["metadata"].(map[string]any)
	if !ok {
		return nil, errors.New("it has no metadata")
	}
	metadata["namespace"] = r.Namespace
	if generate, _ := metadata["generateName"].(string); metadata["name"] == nil && generate != "" {
		metadata["name"] = generate + "0"
	}
	return trim.Fields(fields), nil
}

func refusal(message string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: message,
	}}
}

// reasons joins what a person has to mend.
func reasons(problems []mesh.Problem) string {
	var out []string
	for i, p := range problems {
		if i == maxRefused {
			out = append(out, fmt.Sprintf("And %d more.", len(problems)-i))
			break
		}
		out = append(out, text(p))
	}
	return strings.Join(out, " ")
}

func warnings(problems []mesh.Problem) []string {
	var out []string
	for i, p := range problems {
		if i == maxTold {
			return append(out, fmt.Sprintf("and %d more; see the object's Events", len(problems)-i))
		}
		out = append(out, line(text(p)))
	}
	return out
}

// line makes a warning fit an HTTP header: the API server drops one that does
// not.
func line(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > maxWarning {
		text = strings.ToValidUTF8(text[:maxWarning-3], "") + "..."
	}
	return text
}

// text leaves out the object: whoever hears of it is just writing it.
func text(p mesh.Problem) string {
	p.Object = mesh.Object{}
	return p.String()
}
