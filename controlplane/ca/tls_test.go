package ca

import (
	"crypto/tls"
	"testing"
	"time"
)

func TestMutualTLS(t *testing.T) {
	a, _ := open(t)
	config, err := a.MutualTLS([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if config.ClientAuth != tls.RequireAndVerifyClientCert || !config.SessionTicketsDisabled || config.MinVersion != tls.VersionTLS13 {
		t.Fatal("not mutual, or sessions resume, or below TLS 1.3")
	}
}

func TestServingLeafIsReplacedAtHalfLife(t *testing.T) {
	a, clock := open(t)
	config, err := a.ServerTLS(nil)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		c, err := config.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.String()
	}
	first := serial()
	clock.advance(DefaultLeafLifetime/2 - time.Minute)
	if serial() != first {
		t.Error("replaced too early")
	}
	clock.advance(2 * time.Minute)
	if serial() == first {
		t.Error("not replaced")
	}
}
