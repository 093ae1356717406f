package inject

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Told is the report on one object of a manifest.
type Told struct {
	// Object is kind and namespace/name.
	Object string
	Report
}

// template returns where a kind has the pods that it makes; ok is false for a
// kind that makes none.
func template(apiVersion, kind string) (path []string, ok bool) {
	switch apiVersion + " " + kind {
	case "v1 Pod":
		return nil, true
	case "apps/v1 Deployment", "apps/v1 StatefulSet", "apps/v1 DaemonSet", "apps/v1 ReplicaSet",
		"batch/v1 Job", "v1 ReplicationController":
		return []string{"spec", "template"}, true
	case "batch/v1 CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}, true
	case "v1 PodTemplate":
		return []string{"template"}, true
	}
	return nil, false
}

// head is what is read of any object.
type head struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        struct {
		Name         string `json:"name"`
		GenerateName string `json:"generateName"`
		Namespace    string `json:"namespace"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

// Manifest injects into an object in JSON that is or makes pods, or a List of
// such; whoever calls has opted in for it. Fields and kinds that it does not know
// stay as they are. Objects that say no namespace are meant for the given one.
func Manifest(object []byte, namespace string, s Settings) ([]byte, []Told, error) {
	var h head
	if err := json.Unmarshal(object, &h); err != nil {
		return nil, nil, fmt.Errorf("this is no Kubernetes object: %w", err)
	}
	if h.Kind == "" || h.APIVersion == "" {
		return nil, nil, errors.New("this is no Kubernetes object: apiVersion or kind is missing")
	}
	if h.Kind == "List" && h.APIVersion == "v1" {
		return eachOf(object, h.Items, namespace, s)
	}
	path, ok := template(h.APIVersion, h.Kind)
	if !ok {
		return object, nil, nil
	}
	if h.Metadata.Namespace != "" {
		namespace = h.Metadata.Namespace
	}
	out, r, err := within(object, path, Namespace{Name: namespace, Joined: true}, s)
	name := h.Metadata.Name
	if name == "" {
		name = h.Metadata.GenerateName
	}
	told := Told{Object: h.Kind + " " + namespace + "/" + name, Report: r}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", told.Object, err)
	}
	return out, []Told{told}, nil
}

func eachOf(list []byte, items []json.RawMessage, namespace string, s Settings) ([]byte, []Told, error) {
	var all []Told
	var ops []Operation
	for i, item := range items {
		out, told, err := Manifest(item, namespace, s)
		if err != nil {
			return nil, nil, fmt.Errorf("item %d of the list: %w", i, err)
		}
		all = append(all, told...)
		if slices.ContainsFunc(told, func(t Told) bool { return t.Outcome == Done }) {
			ops = append(ops, Operation{"replace", fmt.Sprintf("/items/%d", i), json.RawMessage(out)})
		}
	}
	out, err := Apply(list, ops)
	return out, all, err
}

// within injects into the pod, or template of pods, at a path of an object.
func within(object []byte, path []string, ns Namespace, s Settings) ([]byte, Report, error) {
	inner, root := json.RawMessage(object), ""
	for _, key := range path {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(inner, &fields); err != nil {
			return nil, Report{}, fmt.Errorf("%s: %w", root, err)
		}
		root += "/" + key
		if inner = fields[key]; inner == nil {
			return nil, Report{}, fmt.Errorf("%s is missing", root)
		}
	}
	var pod corev1.Pod
	if err := json.Unmarshal(inner, &pod); err != nil {
		return nil, Report{}, fmt.Errorf("the pod does not parse: %w", err)
	}
	out, r := Pod(&pod, ns, s)
	ops, err := Patch(&pod, out, root)
	if err != nil {
		return nil, r, err
	}
	if len(ops) > 0 {
		ops = slices.Concat(present(inner, root), ops)
	}
	changed, err := Apply(object, ops)
	return changed, r, err
}

// present makes the metadata that a template may lack, and a pod in Go never does.
func present(pod json.RawMessage, root string) []Operation {
	var fields struct {
		Metadata map[string]any `json:"metadata"`
	}
	if err := json.Unmarshal(pod, &fields); err != nil || fields.Metadata != nil {
		return nil
	}
	return []Operation{{"add", root + "/metadata", map[string]any{}}}
}

// Apply makes the steps on a JSON document.
func Apply(document []byte, ops []Operation) ([]byte, error) {
	if len(ops) == 0 {
		return document, nil
	}
	text, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	patch, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	out, err := patch.Apply(document)
	if err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	return out, nil
}

// String is for people: what became of the object, and why.
func (t Told) String() string {
	text := t.Object + ": " + string(t.Outcome)
	if t.Reason != "" {
		text += ": " + strings.ReplaceAll(t.Reason, "\n", "; ")
	}
	if len(t.Probes) > 0 {
		text += "; probes through the sidecar: " + strings.Join(t.Probes, ", ")
	}
	for _, w := range t.Warnings {
		text += "\n  warning: " + w
	}
	return text
}
