package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/wasmesh/wasmesh/examples/bookstore/app/tally"
)

// headerTimeout frees what a caller that never finishes its request holds.
const headerTimeout = 5 * time.Second

// reply is the body of every answer an application gives.
type reply struct {
	// From is the application's name, such as bookstore-v2.
	From string `json:"from"`
	// Books are those sold, or those handed to stores, since the start.
	Books int64 `json:"books"`
	// Restock is the code with which the warehouse answered a sale; 0 if it did
	// not, or was not asked.
	Restock int `json:"restock,omitempty"`
}

// serve returns work that answers at address with h and counts every answer.
func serve(t *tally.Tally, address string, h http.Handler) func(context.Context) error {
	return func(ctx context.Context) error {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("serving at %s: %w; is another demo running?", address, err)
		}
		server := &http.Server{Handler: counted(t, h), ReadHeaderTimeout: headerTimeout}
		stop := context.AfterFunc(ctx, func() { server.Close() })
		defer stop()
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving at %s: %w", address, err)
		}
		return nil
	}
}

// counted counts an answer before its last byte leaves, so that whoever has
// received it finds it counted.
func counted(t *tally.Tally, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &watched{ResponseWriter: w, code: http.StatusOK}
		h.ServeHTTP(seen, r)
		t.Give(tally.Gave{Request: fmt.Sprintf("%s %.200s", r.Method, r.URL.Path), Code: seen.code})
	})
}

// watched remembers the code that was written.
type watched struct {
	http.ResponseWriter
	code int
}

func (w *watched) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// storeHandler sells books. A sale goes through even if the warehouse does not
// answer well: what a buyer sees then depends on the buyer's own rights only.
func storeHandler(name string, warehouse *caller) http.Handler {
	var sold atomic.Int64
	restock := call{method: http.MethodPost, path: "/restock-books"}
	mux := http.NewServeMux()
	mux.HandleFunc("/books-bought", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, reply{From: name, Books: sold.Load()})
	})
	mux.HandleFunc("/preview/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, reply{From: name})
	})
	mux.HandleFunc("/buy-a-book", func(w http.ResponseWriter, r *http.Request) {
		warehouse.tally.Begin()
		code := warehouse.do(r.Context(), restock)
		answer(w, reply{From: name, Books: sold.Add(1), Restock: code})
	})
	mux.HandleFunc("/", nothing(name))
	return mux
}

// warehouseHandler hands books to stores.
func warehouseHandler(name string) http.Handler {
	var handed atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/restock-books", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, reply{From: name, Books: handed.Add(1)})
	})
	mux.HandleFunc("/", nothing(name))
	return mux
}

// nothing answers paths that the application does not have. Methods are not
// looked at anywhere: what an application serves, only the mesh guards.
func nothing(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		answer(w, reply{From: name})
	}
}

func answer(w http.ResponseWriter, r reply) {
	// The only error is that the caller went away.
	_ = json.NewEncoder(w).Encode(r)
}
