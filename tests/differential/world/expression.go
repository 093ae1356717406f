package world

import (
	"regexp"
	"strings"
)

// sampler makes a text that an expression is likely to describe: with unrelated
// texts nearly every answer would be that nothing matches.
type sampler func(*maker) string

func text(s string) sampler { return func(*maker) string { return s } }

func among(texts ...string) sampler { return func(m *maker) string { return pick(m, texts...) } }

// atom is a piece of an expression with its sampler.
type atom struct {
	expr   string
	sample sampler
}

func (m *maker) pathExpression() string {
	if m.one(20) {
		return pick(m, "(", "/a{1001}", "/[", "a)|(b", "/"+strings.Repeat("x", 1024), `\8`, "/x**")
	}
	expr, sample := m.open()
	for range m.IntN(3) {
		next := m.segment()
		before := sample
		expr += next.expr
		sample = func(m *maker) string { return before(m) + next.sample(m) }
	}
	switch m.IntN(8) {
	case 0, 1, 2:
		expr += "$"
	case 3:
		expr += "(/.*)?$"
	case 4:
		expr += ".*"
	case 5:
		other, otherSample := m.open()
		one := sample
		expr = pick(m, expr+"|"+other+"$", "(?:"+expr+"|"+other+")", "("+expr+"$|"+other+")")
		sample = func(m *maker) string {
			if m.one(2) {
				return one(m)
			}
			return otherSample(m)
		}
	case 6:
		expr = pick(m, "^", `\A`, "(?i)", "(?s)", "(?U)") + expr
	}
	m.samples[expr] = sample
	return expr
}

// open is how an expression begins.
func (m *maker) open() (string, sampler) {
	if m.one(12) {
		a := pick(m, atom{".*", text("/any/thing")}, atom{"/", text("/")}, atom{"books", text("/books")},
			atom{"[^;]*", text("/a/b")}, atom{".+/books", text("/x/books")}, atom{`/\.well-known`, text("/.well-known")})
		return a.expr, a.sample
	}
	a := m.segment()
	return a.expr, a.sample
}

func (m *maker) segment() atom {
	return pick(m,
		atom{"/books", text("/books")}, atom{"/books", text("/books")}, atom{"/admin", text("/admin")},
		atom{"/[0-9]+", among("/7", "/42")}, atom{"/(a|b)", among("/a", "/b")}, atom{"/[^/]+", among("/x", "/books", "/~u")},
		atom{"/v[12]", among("/v1", "/v2")}, atom{`/\w+`, among("/buy", "/b_1")}, atom{"(/[a-z]+){1,2}", among("/a", "/a/b")},
		atom{"/a;v=1", text("/a;v=1")}, atom{"/;x", text("/;x")}, atom{"/Books", text("/Books")}, atom{`/x\b`, text("/x")},
		atom{"/(?i:Shop)", among("/shop", "/SHOP")}, atom{"(/c)?", among("", "/c")}, atom{"/é", text("/%C3%A9")}, atom{"/%C3%A9", text("/%C3%A9")},
		atom{`/a\+b`, text("/a+b")}, atom{"/a%20b", text("/a%20b")}, atom{"/x(?:y|)", among("/x", "/xy")}, atom{"/.", among("/a", "/z")},
	)
}

func (m *maker) valueExpression() string {
	if m.one(20) {
		return pick(m, "(", "[", strings.Repeat("x", 1025), "a{2,1}")
	}
	if m.one(60) { // takes a hundred times longer to compile than the rest
		m.samples[`\pL+`] = among("abc", "世界")
		return `\pL+`
	}
	a := pick(m,
		atom{"user", text("user")}, atom{"user|admin", among("user", "admin")}, atom{"(user|admin)", among("user", "admin")},
		atom{".*", among("", "anything", "ä")}, atom{"v[12]", among("v1", "v2")}, atom{"[0-9]+", among("1", "22")},
		atom{".*Firefox.*", text("Mozilla Firefox 99")}, atom{"(?i)user", among("USER", "user")}, atom{"", text("")},
		atom{"^user$", text("user")}, atom{"[^a]", among("b", "é", "世")}, atom{`[à-ÿ]+`, among("é", "ñé")}, atom{"é.", text("éa")},
		atom{"a b", text("a b")}, atom{`store\.shop`, among("store.shop", "store.shop:8080", "STORE.shop.", "store.shop.:1")},
		atom{`store\.shop(:[0-9]+)?`, among("store.shop", "store.shop:8080")}, atom{`.+`, among("x", "x,y")}, atom{`[A-Z]+`, among("AB")},
	)
	m.samples[a.expr] = a.sample
	return a.expr
}

// sample makes a text for an expression of this world.
func (m *maker) sample(expr string) string {
	if s := m.samples[expr]; s != nil {
		return s(m)
	}
	return pick(m, "/", "/books", "user", regexp.QuoteMeta(expr))
}
