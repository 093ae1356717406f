// Command app is what runs in pods of the end to end tests where no application
// of the product's examples fits: a server, a client, and a program that ends. It
// must never be more than the tests need, and never retry: what a test counts is
// each single attempt.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/wasmesh/wasmesh/tests/conformance/suite"
)

const callTimeout = 5 * time.Second

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("app serve | call | end | conform | gateway"))
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2:])
	case "call":
		err = call(os.Args[2:])
	case "end":
		err = end(os.Args[2:])
	case "conform":
		err = conform(os.Args[2:])
	case "gateway":
		err = gateway(os.Args[2:])
	default:
		err = fmt.Errorf("no command %q", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// say prints what happens with its time: tests compare the order.
func say(what string) { fmt.Printf("%s %s\n", time.Now().UTC().Format(time.RFC3339Nano), what) }

// serve answers at each address until SIGTERM, and for a while longer if asked. It
// is ready, over HTTP and gRPC, until POST /unready, and again from POST /ready.
func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", ":8080", "addresses, separated by commas")
	delay := flags.Duration("delay", 0, "from the start to the first answer")
	linger := flags.Duration("linger", 0, "from SIGTERM to the end")
	healthAt := flags.String("health", "", "address of the health service of gRPC")
	status := flags.Int("status", http.StatusOK, "of its answers")
	_ = flags.Parse(args) // it exits
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	say("start")
	time.Sleep(*delay)
	state := health.NewServer()
	if *healthAt != "" {
		listener, err := net.Listen("tcp", *healthAt)
		if err != nil {
			return err
		}
		server := grpc.NewServer()
		grpc_health_v1.RegisterHealthServer(server, state)
		go func() { _ = server.Serve(listener) }() // ends with the program
	}
	handler := http.NewServeMux()
	handler.Handle("/", answer(*status))
	handler.Handle("/ready", readiness{state, grpc_health_v1.HealthCheckResponse_SERVING})
	handler.Handle("/unready", readiness{state, grpc_health_v1.HealthCheckResponse_NOT_SERVING})
	for _, address := range strings.Split(*listen, ",") {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() { _ = http.Serve(listener, handler) }() // ends with the program
	}
	say("serve")
	<-ctx.Done()
	say("terminated")
	time.Sleep(*linger)
	say("end")
	return nil
}

// conform is the application of the conformance suite, until SIGTERM, at the
// suite's port and, for who gives the orders, at the next one.
func conform(args []string) error {
	if len(args) != 1 {
		return errors.New("app conform NAME")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	handler := suite.Application(args[0], &http.Client{Timeout: callTimeout})
	for _, port := range []int{suite.Port, suite.Port + 1} {
		listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		go func() { _ = http.Serve(listener, handler) }() // ends with the program
	}
	<-ctx.Done()
	return nil
}

// gateway passes requests on to a service until SIGTERM, as an ingress controller
// does.
func gateway(args []string) error {
	flags := flag.NewFlagSet("gateway", flag.ExitOnError)
	listen := flags.String("listen", ":8080", "address")
	to := flags.String("to", "", "URL of the service")
	_ = flags.Parse(args) // it exits
	target, err := url.Parse(*to)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	go func() { _ = http.Serve(listener, proxy) }() // ends with the program
	<-ctx.Done()
	return nil
}

// readiness changes the state by POST, and else answers as it is.
type readiness struct {
	state *health.Server
	to    grpc_health_v1.HealthCheckResponse_ServingStatus
}

func (r readiness) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method == http.MethodPost {
		r.state.SetServingStatus("", r.to)
	}
	is, err := r.state.Check(request.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || is.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// answer tells who answered and what it saw.
type answer int

func (status answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _ := os.Hostname()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status))
	_ = json.NewEncoder(w).Encode(map[string]any{ // the caller may have gone
		"pod": name, "local": fmt.Sprint(r.Context().Value(http.LocalAddrContextKey)), "remote": r.RemoteAddr,
		"host": r.Host, "path": r.URL.Path, "headers": r.Header,
	})
}

// call prints the status and the answer to one request, or why there is none, as
// one line per request.
func call(args []string) error {
	flags := flag.NewFlagSet("call", flag.ExitOnError)
	method := flags.String("method", http.MethodGet, "HTTP method")
	family := flags.String("network", "tcp", "tcp, tcp4 or tcp6")
	count := flags.Int("count", 1, "how often")
	pause := flags.Duration("pause", 0, "between two")
	_ = flags.Parse(args) // it exits
	client := http.Client{Timeout: callTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, *family, address)
		},
	}}
	for range *count {
		fmt.Println(once(&client, *method, flags.Arg(0)))
		time.Sleep(*pause)
	}
	return nil
}

func once(client *http.Client, method, url string) string {
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		return "0 " + err.Error()
	}
	response, err := client.Do(request)
	if err != nil {
		return "0 " + err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "0 " + err.Error()
	}
	return fmt.Sprintf("%d %s", response.StatusCode, strings.TrimSpace(string(body)))
}

// end makes one request, if a URL is given, and ends: well where the answer was 200.
func end(args []string) error {
	say("start")
	if len(args) > 0 {
		answer := once(&http.Client{Timeout: callTimeout}, http.MethodGet, args[0])
		say(answer)
		if !strings.HasPrefix(answer, "200 ") {
			return errors.New("refused")
		}
	}
	say("end")
	return nil
}
