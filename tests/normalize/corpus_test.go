package normalize

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// shapes are the request targets that security reviews of proxies are made of.
func shapes() []string {
	return strings.Fields(`
		/ // /// //// /a /a/ /a// /a//b //a /a///b// /A /PUBLIC /publicity /public.bak /public/* /* /**
		/public/../admin /public/%2e%2e/admin /public/%2E./admin /public/.%2e/admin /%61dmin /%70ublic
		//admin /public//../admin /public/..//admin /public///..//../admin //..//admin /public/.//../admin
		/a//.. /a///.. /a//../.. /a/b//../.. //.. //../ //..// /..// /a/..// /a/../.. /../../.. /a/../../b
		/. /./ /.. /../ /a/. /a/.. /a/./ /a/../ /a/... /... /.a /..a /a.. /a/.b/.. /%2e /%2e%2e /%2e%2E/ /a/%2e/b
		/public%2f..%2fadmin /public%2Fadmin /%2f /public%5c..%5cadmin /public%5Cadmin /%5c /a/%2e%2e%2f
		/public\..\admin /public\admin /\ /\\ /\/ /a\ /a\. /a\.. /\..\a /a/..\b /a\..//b /a\%2e%2e\b \a
		/public/..;/admin /public/..;a=b/admin /public/.;/admin /public/.;x/admin /..;/..;/a /a/..; /a/.; /.; /..;
		/a/..;x;y/b /a/..;..;/b /a//..;/b /a/..;//b /a/..;/../b /a/b/..;/c/.. /a/..;%41^/b /a/.;/..;/b /a/...;/b
		/a/;../b /a/;..;/b /a/..a;/b /;x/admin /admin;x=y /public;x/../admin /; /;/ /a/;/b /a;b;c/d; /a;/..;/
		/public/%2e%2e;/admin /public/%2e.;x/admin /public/.%2E;/admin /public/..%3b/admin /public/..%3Bx/admin
		/public/%2e%2e%3b/admin /a/.%3b /a\..;\b /a\..;/b /a/..;\b /a/..;x\y/b /a/..;%00/b /a/%3b/b /a%3bx/b
		/a;%2e%2e/b /a/x;..%3b/b
		/admin#x /public#/../../admin /a?#x /# /admin?x /admin%3f /admin%3Fx /public?/../admin /a?? /? /?/../b
		/a?b%2fc /a?b//c /a?b\c /a?%00 /a?%zz /a?;x /..?/.. /a/..;?q /a//?x//y
		/public%00/admin /%00 /a%0a /a%0d%0ab /a%09 /a%20b /a%7f /a%ff /a%c3%a9 /%c0%ae%c0%ae/admin /%e0%80%ae
		/public/%252e%252e/admin /%2525 /%252f /a%255cb /%25%32%66 /%2541 /a/%2e%2e%252f
		/% /%% /%2 /%4/ /%zz /%%41 /%%41B /%2%66 /%2%65%2%65/a /%%32e/a /%%34%31 /%u0061dmin /100% /a/.%/b /a%/../b
		/a|b /a^b /a{b} /a<b> /a"b" /a'b' /a§b /` + "`" + ` /a[b] /a:b /a@b /a!$&'()*+,=b /~a-b_c.d /%7e%2d%5f%2e%7E
		* a a/b ?x ; %2f %2e %5c . .. /p.S/Admin //p.S/Admin
	`)
}

// everyByte puts every byte, as it is and encoded, at the places where its meaning
// may differ.
func everyByte() []string {
	var out []string
	for b := range 256 {
		for _, form := range []string{string([]byte{byte(b)}), fmt.Sprintf("%%%02x", b), fmt.Sprintf("%%%02X", b)} {
			for _, place := range []string{"/a<>z", "/<>", "/a/<>", "/a/<>/b", "/a/<>./b", "/a/.<>/b", "/a/..<>/b", "/a/..<>", "/a?b<>c", "/a;<>/b", "/a/..;<>/b"} {
				out = append(out, strings.Replace(place, "<>", form, 1))
			}
		}
	}
	return out
}

// long are targets of about size bytes; Envoy's limit for all headers together
// is 60 KiB.
func long(size int) []string {
	var out []string
	for _, unit := range []string{"a", "/", "/.", "/..", "/a/..", "/a", "\\", "%41", "/;x", "^", "/a//..", "/%2e%2E", "%c3", "/..;"} {
		n := size / len(unit)
		if unit == "^" {
			// Each becomes three bytes, and the limit holds for what is sent on too.
			n /= 4
		}
		out = append(out, "/"+strings.Repeat(unit, n), "/a"+strings.Repeat(unit, n)+"/b")
	}
	return out
}

// common appear often, rare now and then, as most of them get a target refused.
var (
	common = []string{
		"/", "/", "/", "//", "\\", ".", "..", "%2e", "%2E", "a", "b", "c", "%61", "%7E", "^", "|", "*", ":", "%20", "%25", "%c3%a9",
		"/../", "/./", "/..", "\\..", "/%2e%2E", ";", "/;x", "/..;/", "/.;x", "/a;b",
	}
	rare = []string{"%2f", "%5C", "%3b", "%3B", "%00", "%", "%4", "%2", "?", "#", "..;", "..%3b", "\x00", "\x7f", "\xc3\xa9", "\xff", " ", "\t"}
)

// random returns n targets of a grammar, the same ones for the same seed.
func random(seed uint64, n int) []string {
	r := rand.New(rand.NewPCG(seed, 0))
	out := make([]string, n)
	for i := range out {
		var target strings.Builder
		target.WriteByte('/')
		for range 1 + r.IntN(10) {
			switch p := r.IntN(100); {
			case p < 90:
				target.WriteString(common[r.IntN(len(common))])
			case p < 96:
				target.WriteString(rare[r.IntN(len(rare))])
			case p < 98:
				fmt.Fprintf(&target, "%%%02x", r.IntN(256))
			default:
				target.WriteByte(byte(r.IntN(256)))
			}
		}
		out[i] = target.String()
	}
	return out
}
