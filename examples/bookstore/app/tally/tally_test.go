package tally

import (
	"fmt"
	"testing"
	"time"
)

func TestEveryCallIsCountedOnce(t *testing.T) {
	c := New("buyer")
	for i := range 10 {
		c.Begin()
		if i%5 == 0 {
			c.Fail("reset")
			continue
		}
		c.Get(time.Unix(int64(i), 0), Got{"GET /", 200, "bookstore-v1"})
	}
	c.Begin()
	r := c.Report()
	if r.Flying != 1 || len(r.Got) != 1 || r.Got[0].Count != 8 || len(r.Failures) != 1 || r.Failures[0].Count != 2 {
		t.Errorf("got %+v", r)
	}
}

func TestTurnsAreThoseOfEachRequest(t *testing.T) {
	c := New("buyer")
	for i, code := range []int{403, 403, 200, 200, 403} {
		for _, request := range []string{"GET /a", "GET /b"} {
			c.Begin()
			c.Get(time.Unix(int64(i), 0), Got{request, code, Proxy})
		}
	}
	turns := c.Report().Turns
	if len(turns) != 6 || turns[2].Code != 200 || turns[2].At != time.Unix(2, 0) || turns[4].Code != 403 {
		t.Errorf("got %+v", turns)
	}
}

// What callers invent must not fill the memory.
func TestCallersCannotGrowIt(t *testing.T) {
	c := New("store")
	for i := range 10 * maxKeys {
		c.Give(Gave{fmt.Sprintf("GET /%d", i), 404})
		c.Begin()
		c.Fail(fmt.Sprint(i))
		c.Begin()
		c.Get(time.Unix(0, 0), Got{"GET /", i, Proxy})
	}
	r := c.Report()
	sum := 0
	for _, g := range r.Gave {
		sum += g.Count
	}
	if len(r.Gave) > maxKeys+1 || len(r.Failures) > maxKeys+1 || len(r.Turns) > maxTurns || sum != 10*maxKeys {
		t.Errorf("%d answers in %d kinds, %d causes, %d turns", sum, len(r.Gave), len(r.Failures), len(r.Turns))
	}
}
