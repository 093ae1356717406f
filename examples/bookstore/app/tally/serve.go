package tally

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// maxRate keeps a typing error from becoming a flood, in requests per second.
const maxRate = 2000

// Serve answers on a Unix socket until ctx ends:
//
//	GET /report        the Report, as JSON
//	PUT /rate?per-second=N   sets the rate through setRate, then the Report
//
// The socket file is removed first: after a kill the old one is still there.
func (t *Tally) Serve(ctx context.Context, socket string, setRate func(int)) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("counts socket: %w", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("counts socket %s: %w; a path must be shorter than 108 bytes", socket, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", t.report)
	mux.HandleFunc("PUT /rate", func(w http.ResponseWriter, r *http.Request) {
		rate, err := strconv.Atoi(r.URL.Query().Get("per-second"))
		if err != nil || rate < 0 || rate > maxRate {
			http.Error(w, fmt.Sprintf("per-second must be a number from 0 to %d", maxRate), http.StatusBadRequest)
			return
		}
		t.SetRate(rate)
		setRate(rate)
		t.report(w, r)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("counts socket %s: %w", socket, err)
	}
	return nil
}

func (t *Tally) report(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	// The only error is that the reader went away.
	_ = json.NewEncoder(w).Encode(t.Report())
}
