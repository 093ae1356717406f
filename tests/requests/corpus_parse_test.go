package requests

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseFamily(t *testing.T) {
	text := "What it is about.\nwith: x-role: user\n\n-- one --\nwhy: a reason\nwant: deny\nwant http1: reject\nrequest: GET /a\\x00b\nX-A: {3*b}\n\n" +
		"-- two --\nwhy: a reason\nwant direct: allow /c\nframes:\n> HEADERS 1 more-headers\n:path: /c\n> 2 times: CONTINUATION 1\nx: y\n> DATA 1 end-stream d e\n"
	got, err := parseFamily("dir/some.txtar", text)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].family != "some" || got[0].name != "one" || got[0].at != "dir/some.txtar:4" {
		t.Fatalf("got %+v", got)
	}
	if want := "GET /a\x00b HTTP/1.1\r\nHost: server.b\r\nx-shape: {id}\r\nX-A: bbb\r\nx-role: user\r\n\r\n"; got[0].text != want {
		t.Errorf("got %q, want %q", got[0].text, want)
	}
	if want := (map[way]expectation{http1: rejected(), http2: {word: deny}, direct: {word: deny}}); !reflect.DeepEqual(got[0].wants, want) {
		t.Errorf("got %v, want %v", got[0].wants, want)
	}
	if fields := got[0].frames[0].fields; fields[3] != (field{":path", "/a\x00b"}) || fields[5] != (field{"x-a", "bbb"}) || len(fields) != 7 {
		t.Errorf("got %q", fields)
	}
	kinds := ""
	for _, f := range got[1].frames {
		kinds += f.kind + " "
	}
	if last := got[1].frames[3]; kinds != "HEADERS CONTINUATION CONTINUATION DATA " || last.payload != "d e" || !last.endStream {
		t.Errorf("got %s%+v", kinds, last)
	}
	if want := []way{direct}; !reflect.DeepEqual(got[1].ways(), want) {
		t.Errorf("got %v, want %v", got[1].ways(), want)
	}
}

// Each error says where, and what is wrong.
func TestParseFamilyErrors(t *testing.T) {
	const head = "-- a --\nwhy: x\nwant: deny\n"
	for text, want := range map[string]string{
		"-- --\nwhy: x\n":                                  "f.txtar:1: \"\" is no name",
		head + "request: GET /\n" + head:                   "f.txtar:5: \"a\" is no name, or the name of another",
		"-- a --\nwant: deny\nrequest: GET /\n":            "f.txtar:1: it does not say why",
		"-- a --\nwhy: x\nrequest: GET /\n":                "f.txtar:3: shape \"a\" does not say what is wanted",
		head:                                               "f.txtar:1: it has no request",
		head + "send: GET /\n":                             "f.txtar:4: \"send: GET /\": expected why",
		head + "request: GET\n":                            "f.txtar:4: \"GET\" is not a method and a target",
		head + "request: GET /\\q\n":                       "f.txtar:4: \"GET /\\\\q\" is not written with Go's escapes",
		head + "request: GET /\nx\n":                       "f.txtar:4: \"x\" is not name: value",
		head + "frames:\nx: y\n":                           "f.txtar:4: field \"x: y\" has no HEADERS",
		head + "frames:\n> PUSH 1\n":                       "f.txtar:4: \"PUSH 1\" is none of",
		head + "frames:\n> DATA x\n":                       "f.txtar:4: \"DATA x\" is none of",
		head + "handshake: nobody\n":                       "f.txtar:4: there are no credentials \"nobody\"",
		"-- a --\nwhy: x\nwant: perhaps\nrequest: GET /\n": "f.txtar:4: \"perhaps\" is none of allow",
		"-- a --\nwhy: x\nwant: 200\nrequest: GET /\n":     "f.txtar:4: \"200\" is none of allow",
		"-- a --\nwhy: x\nwant http3: deny\nbytes:\nx\n":   "f.txtar:4: \"want http3: deny\": the shape cannot go the way http3",
	} {
		if _, err := parseFamily("f.txtar", text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}
