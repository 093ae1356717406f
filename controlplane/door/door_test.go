package door

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

type guest struct{ closed bool }

func (g *guest) Close() error { g.closed = true; return nil }

func TestTheOldestMakesRoom(t *testing.T) {
	r := NewRoom(3)
	guests := make([]guest, 5)
	leave := make([]func(), 5)
	for i := range 3 {
		leave[i] = r.Enter(&guests[i])
	}
	leave[0]()
	leave[0]()
	leave[3] = r.Enter(&guests[3]) // there is room
	leave[4] = r.Enter(&guests[4]) // there is none
	for i, want := range []bool{false, true, false, false, false} {
		if guests[i].closed != want {
			t.Errorf("guest %d: closed is %v", i, guests[i].closed)
		}
	}
	leave[1]() // which was closed
	if r.Waiting() != 3 {
		t.Errorf("%d wait, want 3", r.Waiting())
	}
}

func TestAFloodIsToldOfInFewLines(t *testing.T) {
	var out bytes.Buffer
	log, now := slog.New(slog.NewTextHandler(&out, nil)), time.Unix(0, 0)
	var teller Teller
	const seconds, each = 60, 100
	for i := range seconds * each {
		teller.Warn(log, now.Add(time.Duration(i)*time.Second/each), "stranger", "n", i)
	}
	lines := strings.Count(out.String(), "\n")
	if want := linesAtOnce + seconds/int(tellInterval.Seconds()) - 1; lines != want {
		t.Errorf("%d lines, want %d", lines, want)
	}
	if !strings.Contains(out.String(), `"left out"=990`) {
		t.Errorf("nobody says how many were left out:\n%s", out.String())
	}
}
