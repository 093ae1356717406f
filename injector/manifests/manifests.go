// Package manifests puts sidecars into manifests before anybody applies them: it
// finds the pods in a file, has package inject change them, and writes the file
// again.
//
// It never drops what it does not understand: a document without a pod stays
// byte for byte as it was, and of the others only what the injection changes
// changes. It never reads or writes a file itself.
package manifests

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/wasmesh/wasmesh/injector/inject"
	"github.com/wasmesh/wasmesh/injector/webhook"
)

// Injection changes one pod; see inject.Pod.
type Injection func(*corev1.Pod) (*corev1.Pod, inject.Report, error)

// templates says where in an object of a kind the pod is; the last step holds
// metadata and spec.
var templates = map[string][]string{
	"Pod": {}, "Deployment": {"spec", "template"}, "ReplicaSet": {"spec", "template"}, "StatefulSet": {"spec", "template"},
	"DaemonSet": {"spec", "template"}, "ReplicationController": {"spec", "template"}, "Job": {"spec", "template"},
	"CronJob": {"spec", "jobTemplate", "spec", "template"},
}

// Inject returns the manifests with sidecars, and a line for each pod of what was
// done to it. An error names the object, and nothing is returned then.
func Inject(in []byte, injection Injection) (out []byte, told []string, err error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(in)))
	var documents [][]byte
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("document %d: %w", len(documents)+1, err)
		}
		made, lines, err := one(document, injection)
		if err != nil {
			return nil, nil, fmt.Errorf("document %d: %w", len(documents)+1, err)
		}
		documents, told = append(documents, made), append(told, lines...)
	}
	return bytes.Join(documents, []byte("---\n")), told, nil
}

// one handles a document, which is an object or a List of them.
func one(document []byte, injection Injection) ([]byte, []string, error) {
	text, err := yaml.YAMLToJSON(document)
	if err != nil {
		return nil, nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return document, nil, err
	}
	objects := []any{fields}
	if items, ok := fields["items"].([]any); ok && fields["kind"] == "List" {
		objects = items
	}
	var told []string
	changed := false
	for _, o := range objects {
		object, _ := o.(map[string]any)
		line, injected, err := into(object, injection)
		if err != nil {
			return nil, nil, err
		}
		if line != "" {
			told = append(told, line)
		}
		changed = changed || injected
	}
	if !changed {
		return document, told, nil
	}
	made, err := yaml.Marshal(fields)
	return made, told, err
}

// into changes the pod of an object, in place.
func into(object map[string]any, injection Injection) (told string, injected bool, err error) {
	kind, _ := object["kind"].(string)
	path, ok := templates[kind]
	if !ok {
		return "", false, nil
	}
	metadata, _ := object["metadata"].(map[string]any)
	name := fmt.Sprintf("%s %v", kind, metadata["name"])
	template := object
	for _, step := range path {
		if template, ok = template[step].(map[string]any); !ok {
			return "", false, fmt.Errorf("%s: it has no %s", name, step)
		}
	}
	made, report, err := apply(template, injection)
	switch {
	case err != nil:
		return "", false, fmt.Errorf("%s: %w", name, err)
	case !report.Injected:
		return name + ": left alone: " + report.Reason, false, nil
	}
	for key, value := range made {
		template[key] = value
	}
	told = name + ": has a sidecar"
	for _, note := range report.Notes {
		told += "; " + note
	}
	return told, true, nil
}

// apply changes what the injection changes, and leaves fields that this version
// does not know as they are.
func apply(template map[string]any, injection Injection) (map[string]any, inject.Report, error) {
	if template["metadata"] == nil {
		template["metadata"] = map[string]any{}
	}
	raw, err := json.Marshal(template)
	if err != nil {
		return nil, inject.Report{}, err
	}
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		return nil, inject.Report{}, err
	}
	injected, report, err := injection(&pod)
	if err != nil || !report.Injected {
		return nil, report, err
	}
	// Of what the typed form drops or fills in, the patch says nothing.
	text, err := webhook.Patch(&pod, injected)
	if err != nil {
		return nil, report, err
	}
	patch, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return nil, report, err
	}
	if raw, err = patch.Apply(raw); err != nil {
		return nil, report, err
	}
	var out map[string]any
	return out, report, json.Unmarshal(raw, &out)
}
