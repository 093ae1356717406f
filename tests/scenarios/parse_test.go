package scenarios

import (
	"reflect"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/policy"
)

func TestParseRequest(t *testing.T) {
	text := "It says something.\n(smi-rules 7, 42)\n\n-- policy.yaml --\nkind: x\n-- requests --\n# a remark\n\n" +
		"a -> b:80\tGET  /x?y='z'  'X-One: it''s'  'x-one:two'  'x-none:'  allow  rule=n/t\n" +
		"a -> b:80  GET  /  deny header\na -> b:80  GET  /  reject\n"
	s, err := parseScenario("dir/some.txtar", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := request{
		at: "dir/some.txtar:9", text: s.requests[0].text, from: "a", to: "b", port: 80, method: "GET", target: "/x?y='z'",
		headers: []policy.Header{{Name: "X-One", Value: "it's"}, {Name: "x-one", Value: "two"}, {Name: "x-none", Value: ""}},
		want:    verdict{allow, "n/t"},
	}
	if !reflect.DeepEqual(s.requests[0], want) {
		t.Errorf("got  %+v\nwant %+v", s.requests[0], want)
	}
	if s.name != "some" || !reflect.DeepEqual(s.rows, []int{7, 42}) || len(s.requests) != 3 {
		t.Errorf("got %+v", s)
	}
	if s.requests[1].want != (verdict{deny, "header"}) || s.requests[2].want != (verdict{outcome: reject}) {
		t.Errorf("got the verdicts %v and %v", s.requests[1].want, s.requests[2].want)
	}
}

// Each error says where, and what to write instead.
func TestParseErrors(t *testing.T) {
	const head = "Text. (smi-rules 1)\n-- policy.yaml --\n-- requests --\n"
	for text, want := range map[string]string{
		"":                                                 "f.txtar:1: the text does not end with the rows",
		"(smi-rules 1)\n":                                  "f.txtar:1: it does not say what behaviour",
		"Text. (smi-rules 1,,2)\n":                         "f.txtar:1: \"(smi-rules 1,,2)\" is not a list",
		"Text. (smi-rules 1)\n":                            "f.txtar:2: the part -- policy.yaml -- is missing",
		head:                                               "f.txtar:4: there is no request",
		head + "# none\n":                                  "f.txtar:5: there is no request",
		head + "a -> b:1 GET / deny":                       "f.txtar:4: \"deny\" is no verdict",
		head + "\na -> b:1 GET / deny x":                   "f.txtar:5: \"x\" is no reason",
		head + "a -> b:1 GET / allow":                      "f.txtar:4: \"allow\" is no verdict",
		head + "a -> b:1 GET / allow r=x":                  "f.txtar:4: \"r=x\" is not rule=",
		head + "a -> b:1 GET / allow t":                    "f.txtar:4: \"t\" is not rule=",
		head + "a -> b:1 GET / reject now":                 "f.txtar:4: \"reject now\" is no verdict",
		head + "a => b:1 GET / reject":                     "f.txtar:4: \"a => b:1 GET / reject\" is too short",
		head + "a -> b GET / reject":                       "f.txtar:4: \"b\" is not service:port",
		head + "a -> b:x GET / reject":                     "f.txtar:4: \"b:x\" is not service:port",
		head + "a -> b:0 GET / reject":                     "f.txtar:4: \"b:0\" is not service:port",
		head + "a -> b:1 GET reject":                       "f.txtar:4: \"a -> b:1 GET reject\" is too short",
		head + "a -> b:1 GET 'x: y' deny path":             "f.txtar:4: 'x: y' stands in quotes",
		head + "a -> b:1 GET / 'x y' deny path":            "f.txtar:4: 'x y' is not 'name: value'",
		head + "a -> b:1 GET / 'x y: z' deny path":         "f.txtar:4: 'x y: z' is not 'name: value'",
		head + "a -> b:1 GET / 'x: y deny path":            "f.txtar:4: the quote in 'x: y deny path does not end",
		head + "a -> b:1 GET / 'x: y'deny path":            "f.txtar:4: a blank is missing",
		head + "a -> b:1 GET / deny path 'x: y'":           "f.txtar:4: header 'x: y' stands behind",
		head + "a -> b:1 GET / 'x: y' 'x: z'":              "f.txtar:4: the verdict is missing",
		head + "a -> b:1 GET / 'host: y' 'Host: z' reject": "f.txtar:4: 'Host: z' is a second Host",
		head + "a -> b:1 GET / reject\n-- more --\n":       "f.txtar:5: a scenario has no part named \"more\"",
		head + "-- requests --\n":                          "f.txtar:4: there are two parts named requests",
	} {
		_, err := parseScenario("f.txtar", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}
