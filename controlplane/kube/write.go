package kube

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wasmesh/wasmesh/controlplane/kube/report"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// status writes the conditions of one of our own objects.
func (w *Writer) status(ctx context.Context, s *supply, name mesh.Name, i item) error {
	s.mu.Lock()
	version := s.served
	s.mu.Unlock()
	patch, err := json.Marshal(map[string]any{
		// Not onto another object of that name.
		"metadata": map[string]any{"uid": i.uid},
		"status":   map[string]any{"conditions": i.conditions},
	})
	if err != nil {
		return fmt.Errorf("status of %s %s: %w", s.feed.kind, name, err)
	}
	client := w.source.clients.Dynamic.Resource(groupVersion(s.feed.group, version).WithResource(s.feed.resource)).Namespace(name.Namespace)
	_, err = client.Patch(ctx, name.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it is gone, or another; the watch tells
	}
	if err != nil {
		return fmt.Errorf("status of %s %s: %w", s.feed.kind, name, err)
	}
	return nil
}

// event writes one event: anew, or over what was told before.
func (w *Writer) event(ctx context.Context, e report.Event) error {
	ref, known := w.source.reference(e.Note.Object)
	if !known || string(ref.UID) != e.Note.UID {
		return nil // nobody would find it
	}
	namespace := ref.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	events := w.source.clients.Typed.CoreV1().Events(namespace)
	made := w.eventOf(e, ref, namespace)
	if e.Count == 1 {
		_, err := events.Create(ctx, made, metav1.CreateOptions{FieldManager: fieldManager})
		if !apierrors.IsAlreadyExists(err) {
			return written(e, err)
		}
	}
	patch, err := json.Marshal(changes(made, e))
	if err != nil {
		return written(e, err)
	}
	_, err = events.Patch(ctx, e.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsNotFound(err) && !e.Solved { // the API forgets events
		_, err = events.Create(ctx, made, metav1.CreateOptions{FieldManager: fieldManager})
	}
	return written(e, err)
}

// changes are what a later telling changes on an event that is there.
func changes(made *corev1.Event, e report.Event) map[string]any {
	out := map[string]any{
		"type": made.Type, "reason": made.Reason, "message": made.Message, "lastTimestamp": made.LastTimestamp,
	}
	if e.Count > 1 { // else a replica before told it, we do not know how often
		out["count"] = e.Count
	}
	return out
}

// written passes an error on, unless it says that nobody can write there any more.
func written(e report.Event, err error) error {
	if err == nil || apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return fmt.Errorf("event on %s: %w", e.Note.Object, err)
}

func (w *Writer) eventOf(e report.Event, ref corev1.ObjectReference, namespace string) *corev1.Event {
	out := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: e.Name},
		InvolvedObject: ref, Type: corev1.EventTypeWarning, Reason: report.Reason(e.Note.Effect), Message: e.Note.Text,
		Source: corev1.EventSource{Component: fieldManager}, ReportingController: fieldManager, ReportingInstance: w.replica,
		FirstTimestamp: metav1.NewTime(e.First), LastTimestamp: metav1.NewTime(e.Last), Count: e.Count,
	}
	if e.Solved {
		out.Type, out.Reason, out.Message = corev1.EventTypeNormal, "Solved", "Solved: "+e.Note.Text
	}
	return out
}
