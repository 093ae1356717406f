package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReceiveTakesNothingButWhatTheDigestPromises(t *testing.T) {
	s := open(t)
	module := []byte("module")
	digest := Digest(module)
	broken := errors.New("the line went dead")
	for name, receive := range map[string]func() error{
		"other content": func() error { return s.Receive(digest, strings.NewReader("other"), 100) },
		"a part":        func() error { return s.Receive(digest, bytes.NewReader(module[:3]), 100) },
		"more":          func() error { return s.Receive(digest, strings.NewReader("module and more"), 100) },
		"too large":     func() error { return s.Receive(digest, bytes.NewReader(module), int64(len(module))-1) },
		"a dead line":   func() error { return s.Receive(digest, iotest.ErrReader(broken), 100) },
		"no digest":     func() error { return s.Receive("../"+digest[3:], bytes.NewReader(module), 100) },
	} {
		if err := receive(); err == nil {
			t.Errorf("%s is taken", name)
		} else if name != "a dead line" && !errors.Is(err, ErrOther) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, _ := os.ReadDir(s.dir); len(entries) > 0 {
			t.Errorf("%s left %v", name, entries)
		}
	}
	if err := s.Receive(digest, bytes.NewReader(module), int64(len(module))); err != nil || !s.Has(digest) {
		t.Errorf("the module itself: %v", err)
	}
}

func TestHasReadsTheContent(t *testing.T) {
	s := open(t)
	digest, err := s.Put([]byte("module"))
	if err != nil || !s.Has(digest) || !s.Exists(digest) {
		t.Fatalf("what was put is not there: %v", err)
	}
	if err := os.WriteFile(s.Path(digest), []byte("modulE"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.Has(digest) || !s.Exists(digest) {
		t.Error("a damaged module counts as there")
	}
}

func TestKeepRemovesOnlyWhatIsItsOwn(t *testing.T) {
	s := open(t)
	var digests []string
	for _, text := range []string{"a", "b", "c"} {
		digest, err := s.Put([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest)
	}
	for _, name := range []string{".module-part", "notes.txt", "a.wasm", strings.ToUpper(digests[0]) + ".wasm"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Keep(digests[1]); err != nil {
		t.Fatal(err)
	}
	if left, err := s.List(); err != nil || len(left) != 1 || left[0] != digests[1] {
		t.Errorf("left are %v, %v", left, err)
	}
	entries, _ := os.ReadDir(s.dir)
	if len(entries) != 4 { // the module and three files of somebody else
		t.Errorf("left are %v", entries)
	}
}

func TestNamesThatAreNoDigest(t *testing.T) {
	good := Digest(nil)
	for _, name := range []string{"", "..", good[1:], good + "0", strings.ToUpper(good), "../" + good[3:], strings.Repeat("g", 64)} {
		if IsDigest(name) {
			t.Errorf("%q counts as a digest", name)
		}
		if f, err := open(t).Open(name); err == nil {
			f.Close()
			t.Errorf("%q was opened", name)
		}
	}
	if !IsDigest(good) {
		t.Error("a digest is none")
	}
}
