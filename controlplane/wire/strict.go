package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	kjson "sigs.k8s.io/json"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// decodeStrict fills value; a field that the type does not know is a problem,
// because ignoring it could grant more than was written (smi-rules 34).
func decodeStrict(fields map[string]any, value any) []mesh.Problem {
	text, err := json.Marshal(fields)
	if err != nil {
		return []mesh.Problem{{Cause: "the object cannot be read: " + err.Error() + ".", Try: "Check its values."}}
	}
	strict, err := kjson.UnmarshalStrict(text, value)
	if err != nil {
		return []mesh.Problem{mistyped(fields, err)}
	}
	var problems []mesh.Problem
	for _, err := range strict {
		var at kjson.FieldError
		field := ""
		if errors.As(err, &at) {
			field = at.FieldPath()
		}
		problems = append(problems, mesh.Problem{Field: field, Rule: 34, Cause: "the field is unknown, so the object is not used.",
			Try: "Remove it, or check its spelling and place."})
	}
	return problems
}

// mistyped explains a value of the wrong type.
func mistyped(fields map[string]any, err error) mesh.Problem {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return mesh.Problem{Cause: strings.TrimPrefix(err.Error(), "json: ") + ".", Try: "Check the value."}
	}
	return mesh.Problem{Field: pinpoint(fields, wrong), Cause: fmt.Sprintf("%s cannot stand here.", found(wrong.Value)),
		Try: fmt.Sprintf("Write %s.", wanted(wrong))}
}

// found names what encoding/json calls a string, an array or "number 0.5".
func found(value string) string {
	switch kind, literal, _ := strings.Cut(value, " "); {
	case literal != "":
		return "the " + value
	case kind == "string":
		return "text"
	case kind == "array":
		return "a list"
	case kind == "bool":
		return "true or false"
	case kind == "object":
		return "an object with fields"
	}
	return "a " + value
}

func wanted(wrong *json.UnmarshalTypeError) string {
	switch kind := wrong.Type.Kind().String(); {
	case strings.HasPrefix(kind, "int") || strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case kind == "slice":
		return "a list"
	case kind == "struct" || kind == "map":
		return "an object with fields"
	case kind == "bool":
		return "true or false"
	default:
		return "text, in quotes if it looks like something else"
	}
}

// pinpoint returns the path of the value that was refused. The decoder's error
// leaves out which item of a list it was in.
func pinpoint(fields map[string]any, wrong *json.UnmarshalTypeError) string {
	if path, ok := search(fields, strings.Split(wrong.Field, "."), wrong.Value); ok {
		return strings.TrimPrefix(path, ".")
	}
	return wrong.Field
}

func search(value any, steps []string, described string) (string, bool) {
	if list, ok := value.([]any); ok && (len(steps) > 0 || described != "array") {
		for i, item := range list {
			if rest, ok := search(item, steps, described); ok {
				return fmt.Sprintf("[%d]%s", i, rest), true
			}
		}
		return "", false
	}
	if len(steps) == 0 {
		return "", describe(value, described)
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return "", false
	}
	next, ok := fields[steps[0]]
	if !ok {
		return "", false
	}
	rest, ok := search(next, steps[1:], described)
	return "." + steps[0] + rest, ok
}

// describe says whether encoding/json would describe a value so.
func describe(value any, as string) bool {
	switch value.(type) {
	case string:
		return as == "string"
	case bool:
		return as == "bool"
	case map[string]any:
		return as == "object"
	case []any:
		return as == "array"
	case nil:
		return false
	}
	number, err := json.Marshal(value)
	return err == nil && (as == "number" || as == "number "+string(number))
}
