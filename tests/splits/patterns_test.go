package splits

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// words is an alternation of the largest size that an expression may have: more
// than a proxy takes in a route unless it is told to.
func words() string {
	var all []string
	for i := range 140 {
		all = append(all, fmt.Sprintf("w%d%c%c", 100+i, 'a'+i%26, 'z'-i%7))
	}
	return strings.Join(all, "|")
}

// expressions are of all kinds, those that look different in the dialects of the
// two languages above all.
func expressions() []string {
	return []string{
		"a", "a|b", "^a$", "(?:a)", "a.*", ".*", "", "a?", "[^a]+", "[a-c]{2,3}", `\Qa.b`, `\Qa|b\E|c`, "(?i)ab", "a(?i)b", "(?i:a)b", "(?P<n>a)b", "(a)(b)",
		`\d+`, `\w+-\w+`, `\bab\b`, `a\b.*`, `\Aab\z`, "(?m)^ab$", "(?s)a.b", "(?U)a+b", `[[:alpha:]]+`, `[[:^alpha:]]+`, `\pL+`, `\PL+`, `\p{Greek}+`, `\x{e9}`, "é", "[à-ü]+",
		`\x41`, `\.`, `[.*|()]+`, "a{0}", "(a|b|)", "(|a)", "x*", "(?:ab){2}", "[^\\x00-\\x{10FFFF}]", "a,b", "b,.*", "K", "(?i)k", "(?i)s", `\pL{1,2}`, "(?i)[^a]", words(),
	}
}

// values are put under a header and into a path.
func values() []string {
	return []string{"", "a", "b", "ab", "aB", "AB", "abab", "a.b", "a|b", "c", "ab-cd", "123", "a b", "A", "é", "É", "αβγ", "K", "ſ", "\xe9", "()", "abc", "w100az", "w239j{", "aab", "a,b"}
}

// likeTheProxy sends every value to every expression, as a header and as a path,
// and wants the pure decision and the real sidecar to agree on each.
func likeTheProxy(t *testing.T, e *sidecars) {
	var group strings.Builder
	group.WriteString("---\napiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata: {name: all, namespace: bookstore}\nspec:\n  matches:\n")
	for i, expr := range expressions() {
		fmt.Fprintf(&group, "  - {name: h%d, headers: {x-case: h%d, x-value: %s}}\n", i, i, quoted(expr))
		if expr != "" {
			fmt.Fprintf(&group, "  - {name: p%d, pathRegex: %s, headers: {x-case: p%d}}\n", i, quoted("/"+expr), i)
		}
	}
	for i, name := range known() {
		fmt.Fprintf(&group, "  - {name: r%d, headers: {x-case: r%d, %s: 'one.*'}}\n", i, i, name)
	}
	text := splitBy("s", "  matches: [{kind: HTTPRouteGroup, name: all}]\n"+group.String(), "bookstore-v1", 1)
	st, err := setStage(t.TempDir(), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := st.surprises(nil); err != nil {
		t.Error(err)
	}
	if err := e.clear(); err != nil {
		t.Fatal(err)
	}
	if err := e.apply([]byte(text), st.snapshot); err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	var conn *connection
	defer func() { conn.close() }()
	for _, r := range requestsForPatterns() {
		c, err := callOf(st.snapshot, r)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if conn, got, err = e.askOnce(t.Context(), conn, c); err != nil {
			t.Fatal(err)
		}
		if want := natively(st.snapshot, c).String(); got+" 1" != want {
			t.Errorf("native says %s, the sidecar %s: %s %q", want, got, c.target, c.headers)
		}
		outcomes[got]++
	}
	t.Logf("compared: %v", outcomes)
	if outcomes["bookstore-v1"] < 500 || outcomes["bookstore"] < 500 {
		t.Error("that says little")
	}
}

// askOnce sends a request over a connection, a new one if there is none, and
// returns what became of it, and the connection if it can be used again.
func (e *sidecars) askOnce(ctx context.Context, conn *connection, c call) (*connection, string, error) {
	if conn == nil {
		var err error
		if conn, err = dial(ctx, netip.AddrPortFrom(c.caller.AddressOf(c.service), c.port)); err != nil {
			return nil, "", err
		}
	}
	status, last, err := conn.ask(c.wire("once"), c.method)
	if err != nil || last {
		conn.close()
		conn = nil
	}
	for workload := range e.applications.seen("once") {
		return conn, workload, err
	}
	return conn, strconv.Itoa(status), err
}

// known are headers that a proxy could treat in a way of its own when they are
// repeated, without those that it sets or removes, such as x-forwarded-proto.
func known() []string {
	return strings.Fields("accept accept-encoding accept-language authorization cache-control cookie content-type content-encoding content-language " +
		"date etag forwarded from if-match if-none-match if-modified-since if-range if-unmodified-since range origin pragma referer trailer " +
		"upgrade-insecure-requests user-agent via warning x-forwarded-for x-forwarded-host x-forwarded-port x-request-id x-real-ip " +
		"x-client-trace-id traceparent tracestate grpc-timeout grpc-accept-encoding dnt priority max-forwards access-control-request-method " +
		"access-control-request-headers sec-fetch-mode x-requested-with x-ot-span-context cdn-loop prefer age expires last-modified link vary x-b3-traceid b3 baggage")
}

// quoted is a YAML string.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// inAPath says whether a value can stand in a request target as it is.
func inAPath(v string) bool {
	return !slices.ContainsFunc([]byte(v), func(b byte) bool { return b <= ' ' || b >= 0x7f })
}

func requestsForPatterns() []request {
	var all []request
	add := func(target string, headers ...string) {
		r := request{at: "patterns_test.go", from: "bookbuyer", to: "bookstore", port: 14001, method: "GET", target: target, n: 1}
		for i := 0; i < len(headers); i += 2 {
			r.headers = append(r.headers, policy.Header{Name: headers[i], Value: headers[i+1]})
		}
		all = append(all, r)
	}
	for i := range expressions() {
		for j, v := range values() {
			add("/", "x-case", fmt.Sprintf("h%d", i), "x-value", v)
			if inAPath(v) {
				add("/"+v, "x-case", fmt.Sprintf("p%d", i))
			}
			if i < 12 { // two values under one name
				add("/", "x-case", fmt.Sprintf("h%d", i), "x-value", v, "X-Value", values()[(j+1)%len(values())])
			}
		}
	}
	for i, name := range known() {
		for _, v := range [][]string{{"one"}, {"two"}, {"one", "two"}, {"two", "one"}, {" one", "one "}} {
			headers := []string{"x-case", fmt.Sprintf("r%d", i)}
			for _, value := range v {
				headers = append(headers, name, value)
			}
			add("/", headers...)
		}
	}
	return all
}
