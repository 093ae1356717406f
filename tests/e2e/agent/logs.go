package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/network"
	"k8s.io/apimachinery/pkg/types"
)

// serveLogs answers the API server's questions for `kubectl logs`.
func (a *Agent) serveLogs() error {
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	address := net.JoinHostPort(network.NodeIP.String(), strconv.Itoa(a.Port))
	listener, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return fmt.Errorf("logs of node %s: %w", a.Name, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		text, err := a.Logs(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, _ = w.Write(text) // the API server may have gone
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with the run
	return nil
}

// Logs gives what a container has printed, over all its restarts.
func (a *Agent) Logs(namespace, pod, container string) ([]byte, error) {
	var uid types.UID
	a.mu.Lock()
	for _, p := range a.pods {
		if p.object.Namespace == namespace && p.object.Name == pod {
			uid = p.object.UID
		}
	}
	a.mu.Unlock()
	if uid == "" {
		return nil, fmt.Errorf("node %s has no pod %s/%s", a.Name, namespace, pod)
	}
	return os.ReadFile(a.log(uid, container))
}

// selfSigned makes a certificate for a server that nobody verifies.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
