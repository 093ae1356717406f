package serve

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A connection that outlived its certificate would keep its proxy from ever
// opening a stream again.
func TestConnectionEndsWithItsCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		conn := endingWith(ours, time.Now().Add(time.Hour))
		began := time.Now()
		if _, err := theirs.Read(make([]byte, 1)); err == nil || time.Since(began) != time.Hour+goodbye {
			t.Errorf("it ended after %v with %v", time.Since(began), err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
}
