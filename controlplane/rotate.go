package controlplane

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/wasmesh/wasmesh/controlplane/ca"
)

// RotationPath, on the status socket, answers GET with a ca.Rotation, and POST,
// with the parameters step and force, after it has made a step; one that cannot
// be made is a Refusal with the status 409. The running control plane makes the
// steps: it alone signs, and knows what each sidecar said it holds.
const RotationPath = "/ca/rotation"

// Refusal says why a step was not made.
type Refusal struct {
	Error string `json:"error"`
	// Force reports whether it can be forced.
	Force    bool        `json:"force"`
	Rotation ca.Rotation `json:"rotation"`
}

func (p *plane) handleRotation(mux *http.ServeMux) {
	mux.HandleFunc("GET "+RotationPath, func(w http.ResponseWriter, _ *http.Request) {
		r, err := p.authority.Rotation()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		p.tellJSON(w, r)
	})
	mux.HandleFunc("POST "+RotationPath, func(w http.ResponseWriter, r *http.Request) {
		step := ca.Step(r.FormValue("step"))
		force, _ := strconv.ParseBool(r.FormValue("force"))
		rotation, err := p.authority.Rotate(step, force)
		if err != nil {
			p.options.Log.Warn("a step of a rotation was not made", "step", step, "reason", err)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(Refusal{err.Error(), errors.Is(err, ca.ErrNotYet), rotation})
			return
		}
		p.options.Log.Info("rotation of the root", "step", step, "forced", force, "signer", rotation.Signer.Name)
		p.tellJSON(w, rotation)
	})
}
