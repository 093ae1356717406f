package sidecar

import (
	"encoding/json"
	"fmt"

	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
)

// deliver hands key, chain and roots (all PEM) to Envoy, each file by a rename,
// which is what Envoy watches for. Key and chain are one file: Envoy never sees
// one without the other. The roots come first, as the chain may need a new one.
func deliver(r *runDir, key, chain, roots []byte) error {
	identity, err := secretFile(IdentitySecret, object{"tls_certificate": object{
		"certificate_chain": object{"inline_string": string(chain)},
		"private_key":       object{"inline_string": string(key)},
	}})
	if err != nil {
		return err
	}
	if err := deliverTrust(r, roots); err != nil {
		return err
	}
	if err := durable.Write(r.file(IdentityFile), identity); err != nil {
		return fmt.Errorf("handing the certificate to envoy: %w", err)
	}
	return nil
}

// deliverTrust hands Envoy the roots alone.
func deliverTrust(r *runDir, roots []byte) error {
	trust, err := secretFile(TrustSecret, object{"validation_context": object{
		"trusted_ca": object{"inline_string": string(roots)},
	}})
	if err != nil {
		return err
	}
	if err := durable.Write(r.file(TrustFile), trust); err != nil {
		return fmt.Errorf("handing the trust bundle to envoy: %w", err)
	}
	return nil
}

// secretFile is a discovery answer with one secret, as Envoy reads it from disk.
func secretFile(name string, content object) ([]byte, error) {
	content["@type"] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	content["name"] = name
	return json.Marshal(object{"resources": []any{content}})
}
