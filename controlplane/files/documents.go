package files

import "bytes"

// document is one YAML document of a file. Its text starts with offset lines
// less than the file.
type document struct {
	text   []byte
	offset int
}

// documents cuts a file where YAML lets a document begin or end: at a line that
// starts with --- or ..., which cannot occur inside any value. So a syntax error
// ends with its document.
func documents(file []byte) []document {
	var out []document
	start, startLine, line := 0, 0, 0
	cut := func(end, nextLine int) {
		if end > start {
			out = append(out, document{text: file[start:end], offset: startLine})
		}
		start, startLine = end, nextLine
	}
	for at := 0; at < len(file); line++ {
		next := len(file)
		if i := bytes.IndexByte(file[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		switch {
		case isMarker(file[at:next], "---"):
			cut(at, line)
		case isMarker(file[at:next], "..."):
			cut(next, line+1)
		}
		at = next
	}
	cut(len(file), line)
	return out
}

// isMarker says whether a line is a marker, alone or followed by white space.
func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r' || rest[0] == '\n')
}
