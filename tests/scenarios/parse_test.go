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
	requests := s.steps[0].requests
	want := request{
		at: "dir/some.txtar:9", text: requests[0].text, from: "a", to: "b", port: 80, method: "GET", target: "/x?y='z'",
		headers: []policy.Header{{Name: "X-One", Value: "it's"}, {Name: "x-one", Value: "two"}, {Name: "x-none", Value: ""}},
		want:    verdict{allow, "n/t"},
	}
	if !reflect.DeepEqual(requests[0], want) {
		t.Errorf("got  %+v\nwant %+v", requests[0], want)
	}
	if s.name != "some" || !reflect.DeepEqual(s.rows, []int{7, 42}) || len(requests) != 3 || s.settings != settings() {
		t.Errorf("got %+v", s)
	}
	if requests[1].want != (verdict{deny, "header"}) || requests[2].want != (verdict{outcome: reject}) {
		t.Errorf("got the verdicts %v and %v", requests[1].want, requests[2].want)
	}
}

func TestParseSteps(t *testing.T) {
	text := "It says something.\n(smi-rules 7)\n-- settings --\npathMatch: full\n-- policy.yaml --\n-- requests --\n" +
		"a -> b:80  TCP  deny port\noutside -> b:80  h2  GET  /  'x: y'  shut\n" +
		"-- policy2.yaml --\nkind: x\n-- requests2 --\na -> b:80  TCP  audit source\na -> b:80  GET  /  pass\n-- problems2 --\ninert X\n"
	s, err := parseScenario("f.txtar", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if !s.settings.PathFull || len(s.steps) != 2 || string(s.steps[1].policy) != "kind: x\n" || !reflect.DeepEqual(s.steps[1].problems, []string{"inert X"}) {
		t.Errorf("got %+v", s)
	}
	var got []request
	for _, step := range s.steps {
		for _, r := range step.requests {
			r.text = ""
			got = append(got, r)
		}
	}
	want := []request{
		{at: "f.txtar:7", from: "a", to: "b", port: 80, wire: tcp, want: verdict{deny, "port"}},
		{at: "f.txtar:8", from: outsider, to: "b", port: 80, wire: http2, method: "GET", target: "/",
			headers: []policy.Header{{Name: "x", Value: "y"}}, want: verdict{outcome: shut}},
		{at: "f.txtar:12", from: "a", to: "b", port: 80, wire: tcp, want: verdict{audit, "source"}},
		{at: "f.txtar:13", from: "a", to: "b", port: 80, method: "GET", target: "/", want: verdict{outcome: allow}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
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
		head + "a -> b:1 TCP / deny port":                  "f.txtar:4: \"/ deny port\" is no verdict",
		head + "a -> b:1 TCP 'x: y' deny port":             "f.txtar:4: header 'x: y' stands behind",
		head + "a -> b:1 h2 GET reject":                    "f.txtar:4: \"a -> b:1 h2 GET reject\" is too short",
		head + "a -> b:1 GET / audit":                      "f.txtar:4: \"audit\" is no verdict",
		head + "a -> b:1 GET / shut":                       "f.txtar:4: only a caller from outside",
		head + "a -> b:1 GET / pass\n-- policy3.yaml --\n": "f.txtar:5: the part -- policy3.yaml -- does not stand here",
		head + "a -> b:1 GET / pass\n-- requests2 --\n":    "f.txtar:5: the part -- requests2 -- does not stand here",
		head + "a -> b:1 GET / pass\n-- policy2.yaml --\n": "f.txtar:6: there is no request in step 2",
		head + "a -> b:1 GET / pass\n-- settings --\nx: y": "f.txtar:5: \"x: y\" is no setting",
		head + "a -> b:1 GET / reject\n-- more --\n":       "f.txtar:5: a scenario has no part named \"more\"",
		head + "-- requests --\n":                          "f.txtar:4: there are two parts named requests",
	} {
		_, err := parseScenario("f.txtar", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}
