package mesh

import "fmt"

// Object names a manifest object.
type Object struct {
	Kind string
	Name Name
}

// String returns "Kind namespace/name".
func (o Object) String() string { return o.Kind + " " + o.Name.String() }

// Effect says what becomes of an object that has a problem.
type Effect string

const (
	// Broken: the object cannot be used as it is written. A running control plane
	// keeps its last good form; without one it is left out.
	Broken Effect = "broken"
	// Inert: the object is well formed, but something it names is missing. That
	// part grants or routes nothing until it is there, and heals by itself.
	Inert Effect = "inert"
	// Warning: the object is in force exactly as it is written, but probably says
	// something else than was meant.
	Warning Effect = "warning"
	// Refused: the object is used, but a sidecar does not take what was made of it
	// and goes on with what it had.
	Refused Effect = "refused"
	// Pending: the object is used, and what was made of it is on its way.
	Pending Effect = "pending"
)

// Problem is something wrong with one object, told to whoever wrote it. It is
// a value: whoever finds it returns it, and only the edge prints it.
type Problem struct {
	// Object is empty where a document could not be read far enough to tell which
	// object it holds; Where is set then.
	Object Object
	// Field is the path inside the object, such as "spec.rules[1].name"; empty
	// means the whole object. A source of objects turns it into file and line.
	Field  string
	Effect Effect
	// Cause says what is wrong; Try says what to do about it.
	Cause string
	Try   string
	// Rule is the number in smi-rules that decided, 0 where none did.
	Rule int
	// Where is "file:line" once the source has filled it in.
	Where string
}

// String returns the line a person reads.
func (p Problem) String() string {
	text := clip(p.Cause)
	if p.Field != "" {
		text = clip(p.Field) + ": " + text
	}
	if p.Object != (Object{}) {
		text = clip(p.Object.String()) + ": " + text
	}
	if p.Where != "" {
		text = p.Where + ": " + text
	}
	if p.Try != "" {
		text += " " + clip(p.Try)
	}
	return text
}

// clip keeps a name of a megabyte from filling logs.
func clip(text string) string {
	const longest = 1_000
	if len(text) <= longest {
		return text
	}
	return text[:longest*4/5] + " ... " + text[len(text)-longest/5:]
}

// Counted says how many there are of something: "1 file", "2 files".
func Counted[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
