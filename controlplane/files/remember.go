package files

import "crypto/sha256"

// memory is what documents were decoded to the last time. To decode one costs a
// hundred times what it costs to see that it is the same again.
type memory map[place][]entry

// place is a document by where it stands and what it says.
type place struct {
	path   string
	offset int
	sum    [sha256.Size]byte
}

// remembered decodes a document, or takes what it was decoded to before. One with
// problems is decoded again: how many are told depends on the others.
func (d *decoder) remembered(path string, doc document) {
	if d.now == nil {
		d.document(path, doc)
		return
	}
	at := place{path, doc.offset, sha256.Sum256(doc.text)}
	entries, known := d.before[at]
	if known {
		for _, e := range entries {
			d.add(e)
		}
		d.now[at] = entries
		return
	}
	first, problems, unread := len(d.entries), len(d.problems), len(d.unread)
	d.document(path, doc)
	if len(d.problems) == problems && len(d.unread) == unread {
		d.now[at] = append([]entry(nil), d.entries[first:]...)
	}
}
