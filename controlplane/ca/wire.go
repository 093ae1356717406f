package ca

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// The paths of the join protocol, both POST with a JSON body.
const (
	joinPath   = "/v1/join"
	attestPath = "/v1/attest"
	renewPath  = "/v1/renew"
	rootsPath  = "/v1/roots"
)

const (
	maxBody   = 64 << 10  // bytes of a request; a real one has less than 1 KiB
	maxAnswer = 256 << 10 // bytes of an answer
)

type joinRequest struct {
	Token string    `json:"token"`
	CSR   string    `json:"csr"` // PEM
	Now   time.Time `json:"now"` // the caller's clock
}

// attestRequest proves who asks by a token of the platform, and its answer has no
// renewal credential: the platform keeps the token fresh.
type attestRequest struct {
	Token string    `json:"token"`
	CSR   string    `json:"csr"` // PEM
	Now   time.Time `json:"now"` // the caller's clock
}

type renewRequest struct {
	Workload string    `json:"workload"` // namespace/name
	Renewal  string    `json:"renewal"`
	CSR      string    `json:"csr"` // PEM
	Now      time.Time `json:"now"` // the caller's clock
}

// rootsRequest proves who asks as a renewal does, or by a token of the platform,
// and spends nothing.
type rootsRequest struct {
	Workload string  `json:"workload,omitempty"` // namespace/name
	Renewal  string  `json:"renewal,omitempty"`
	Token    string  `json:"token,omitempty"` // of the platform
	Holds    Holding `json:"holds"`
}

type rootsAnswer struct {
	TrustBundle string `json:"trustBundle"` // PEM
	Signer      string `json:"signer"`      // fingerprint
}

type answer struct {
	Certificates   string    `json:"certificates"`      // PEM, the leaf first
	TrustBundle    string    `json:"trustBundle"`       // PEM
	Renewal        string    `json:"renewal,omitempty"` // absent if a token of the platform proved who asks
	Workload       string    `json:"workload"`          // namespace/name
	ServiceAccount string    `json:"serviceAccount"`    // namespace/name
	Expires        time.Time `json:"expires"`
	Now            time.Time `json:"now"` // the control plane's clock
}

type refusalAnswer struct {
	Error string `json:"error"`
}

// decode reads exactly one JSON object. Unknown fields are left to newer
// versions of the protocol.
func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("the body is not the JSON object expected: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the body has something after the JSON object")
	}
	return nil
}
