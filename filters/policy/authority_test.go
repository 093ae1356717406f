package policy_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// FuzzAuthority: nothing but a port and one final dot is dropped, and nothing
// but the case of letters is changed, so that no name reads as another.
func FuzzAuthority(f *testing.F) {
	for _, value := range []string{"Store.shop:8080", "store.shop.:1", "[::1]:80", "a:b", "a::", "..", ":80", "\xff:"} {
		f.Add(value)
	}
	dropped := regexp.MustCompile(`^\.?(:[0-9]*)?$`)
	f.Fuzz(func(t *testing.T, value string) {
		got := policy.Authority(value)
		if len(got) > len(value) || !strings.EqualFold(got, value[:len(got)]) || !dropped.MatchString(value[len(got):]) {
			t.Fatalf("%q is read as %q", value, got)
		}
		for i := range len(got) {
			if 'A' <= got[i] && got[i] <= 'Z' {
				t.Fatalf("%q is read as %q", value, got)
			}
		}
	})
}
