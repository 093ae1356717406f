package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Operation is one step of a JSON patch (RFC 6902).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Patch returns what makes one pod of another, below the path root. It names only
// what differs, so that fields which this program does not know stay.
func Patch(before, after *corev1.Pod, root string) ([]Operation, error) {
	was, err := generic(before)
	if err != nil {
		return nil, err
	}
	is, err := generic(after)
	if err != nil {
		return nil, err
	}
	return differences(nil, root, was, is), nil
}

func generic(pod *corev1.Pod) (out any, err error) {
	text, err := json.Marshal(pod)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("pod as JSON: %w", err)
	}
	return out, nil
}

// differences appends the steps from was to is, in the order in which they hold.
func differences(ops []Operation, path string, was, is any) []Operation {
	if reflect.DeepEqual(was, is) {
		return ops
	}
	oldMap, ok1 := was.(map[string]any)
	newMap, ok2 := is.(map[string]any)
	if ok1 && ok2 {
		return fields(ops, path, oldMap, newMap)
	}
	oldList, ok1 := was.([]any)
	newList, ok2 := is.([]any)
	if ok1 && ok2 {
		if all, ok := items(ops, path, oldList, newList); ok {
			return all
		}
	}
	return append(ops, Operation{"replace", path, is})
}

func fields(ops []Operation, path string, was, is map[string]any) []Operation {
	for _, k := range slices.Sorted(maps.Keys(was)) {
		if _, stays := is[k]; !stays {
			ops = append(ops, Operation{Op: "remove", Path: path + "/" + escape(k)})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(is)) {
		if old, there := was[k]; there {
			ops = differences(ops, path+"/"+escape(k), old, is[k])
		} else {
			ops = append(ops, Operation{"add", path + "/" + escape(k), is[k]})
		}
	}
	return ops
}

// items handles lists of named things of which none went and none moved; ok is
// false for others.
func items(ops []Operation, path string, was, is []any) (_ []Operation, ok bool) {
	next := 0
	for i, item := range is {
		at := path + "/" + strconv.Itoa(i)
		name := nameOf(item)
		switch {
		case name == "":
			return nil, false
		case next < len(was) && nameOf(was[next]) == name:
			ops = differences(ops, at, was[next], item)
			next++
		default:
			ops = append(ops, Operation{"add", at, item})
		}
	}
	return ops, next == len(was)
}

func nameOf(item any) string {
	m, _ := item.(map[string]any)
	name, _ := m["name"].(string)
	return name
}

func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
