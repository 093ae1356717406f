package suite

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

const (
	// Port is where every application listens.
	Port = 9091
	// callerHeader says who calls. Nobody decides by it: it is only recorded.
	callerHeader = "ServiceName"
)

type application struct {
	name   string
	client *http.Client

	mu       sync.Mutex
	recorded metrics
}

// metrics are what an application has recorded since it was last cleared.
type metrics struct {
	// ReqReceived has the caller of each request to /echo and /call.
	ReqReceived []string
	// RespSucceeded and RespFailed have the answered calls. One that was not
	// answered is in neither, so that a broken connection never looks like a
	// refusal.
	RespSucceeded []response
	RespFailed    []response
}

type response struct {
	URL, Method string
	Status      int
}

// order is what /call is told.
type order struct {
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
}

// Application is the suite's program: it serves at Port, calls with the client
// whom it is told to call, and records both. It takes requests of any peer, as
// only a test may.
func Application(name string, client *http.Client) http.Handler {
	return (&application{name: name, client: client}).handler()
}

func (a *application) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		a.record(func(m *metrics) { m.ReqReceived = append(m.ReqReceived, r.Header.Get(callerHeader)) })
		fmt.Fprintln(w, a.name)
	})
	mux.HandleFunc("POST /call", func(w http.ResponseWriter, r *http.Request) {
		a.record(func(m *metrics) { m.ReqReceived = append(m.ReqReceived, r.Header.Get(callerHeader)) })
		if err := a.call(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a.recorded) // who asked and left needs no answer
	})
	mux.HandleFunc("DELETE /metrics", func(http.ResponseWriter, *http.Request) {
		a.record(func(m *metrics) { *m = metrics{} })
	})
	return mux
}

func (a *application) record(what func(*metrics)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	what(&a.recorded)
}

// call does what an order says and files the answer. The error is of a call
// that got none.
func (a *application) call(r *http.Request) error {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		return fmt.Errorf("the order cannot be read: %w", err)
	}
	request, err := http.NewRequestWithContext(r.Context(), o.Method, o.URL, strings.NewReader(o.Body))
	if err != nil {
		return err
	}
	for name, value := range o.Headers {
		request.Header.Set(name, value)
	}
	request.Header.Set(callerHeader, a.name)
	answer, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	filed := response{URL: o.URL, Method: o.Method, Status: answer.StatusCode}
	a.record(func(m *metrics) {
		if filed.Status >= 200 && filed.Status < 400 {
			m.RespSucceeded = append(m.RespSucceeded, filed)
		} else {
			m.RespFailed = append(m.RespFailed, filed)
		}
	})
	return nil
}
