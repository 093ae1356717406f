package inject

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// stranger speaks to the injector's port from an address that is not the API
// server's, with a certificate that it does not look at.
func stranger() *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: 5 * time.Second}
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

const door = "https://127.0.0.1:9443"

// atTheDoor: what is no question gets an error of HTTP; slow ones and bombs keep
// nobody out, and the memory stays within what the chart gives.
func atTheDoor(t *testing.T, injector *exec.Cmd) {
	question := func(object string) string {
		return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","resource":{"version":"v1","resource":"pods"},"namespace":"meshed","operation":"CREATE","object":` + object + `}}`
	}
	fine := question(`{"metadata":{"name":"web"},"spec":{"containers":[{"name":"app","image":"app"}]}}`)
	const kind = "application/json"
	for name, c := range map[string]struct {
		method, path, kind, body string
		code                     int
	}{
		"a question":          {"POST", "/inject", kind, fine, 200},
		"a large one":         {"POST", "/inject", kind, fine + strings.Repeat(" ", 4<<20-len(fine)), 200},
		"a larger one":        {"POST", "/inject", kind, fine + strings.Repeat(" ", 4<<20-len(fine)+1), 413},
		"garbage":             {"POST", "/inject", kind, "\x16\x03\x01garbage", 400},
		"nothing":             {"POST", "/inject", kind, "", 400},
		"half of it":          {"POST", "/inject", kind, fine[:len(fine)/2], 400},
		"another version":     {"POST", "/inject", kind, strings.Replace(fine, "k8s.io/v1", "k8s.io/v1beta1", 1), 400},
		"another kind":        {"POST", "/inject", kind, strings.Replace(fine, "AdmissionReview", "Pod", 1), 400},
		"an answer":           {"POST", "/inject", kind, strings.Replace(fine, "request", "response", 1), 400},
		"another type":        {"POST", "/inject", "application/x-www-form-urlencoded", fine, 415},
		"another method":      {"GET", "/inject", kind, "", 405},
		"another path":        {"POST", "/", kind, fine, 404},
		"an unknown act":      {"POST", "/inject", kind, strings.Replace(fine, "CREATE", "CONNECT", 1), 200},
		"a bomb":              {"POST", "/inject", kind, question(`{"spec":{"containers":[` + strings.Repeat("{},", 1_300_000) + `{}]}}`), 200},
		"depth":               {"POST", "/inject", kind, question(strings.Repeat("[", 1_000_000)), 400},
		"containers by count": {"POST", "/inject", kind, strings.Replace(fine, `[{"name":"app","image":"app"}]`, "7", 1), 200},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, door+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", c.kind)
		response, err := stranger().Do(request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		answer, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != c.code || len(answer) == 0 {
			t.Errorf("%s: %d, want %d: %.200s", name, response.StatusCode, c.code, answer)
		}
		if says := bytes.Contains(answer, []byte(`"allowed":true`)); says != (name == "a question" || name == "a large one" || name == "an unknown act") {
			t.Errorf("%s: allowed is %v: %.200s", name, says, answer)
		}
	}
	flood(t, injector, question(`{"spec":{"tolerations":[`+strings.Repeat("{},", 48_000)+`{}]}}`))
}

// flood has many ask slowly, and many ask much, while pods go on to be admitted.
func flood(t *testing.T, injector *exec.Cmd, large string) {
	before := resident(t, injector)
	for range 100 {
		c, err := tls.Dial("tcp", "127.0.0.1:9443", &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /inject HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", 4<<20)
	}
	end, done := make(chan struct{}), make(chan int)
	for range 4 {
		go func() {
			n, client := 0, stranger()
			for ; ; n++ {
				select {
				case <-end:
					done <- n
					return
				default:
				}
				if r, err := client.Post(door+"/inject", "application/json", strings.NewReader(large)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body) // what it says is known
					r.Body.Close()
				}
			}
		}()
	}
	slowest, most := time.Duration(0), before
	for range 30 {
		began := time.Now()
		if p, err := admitted(t, ordinary); err != nil || !hasSidecar(p) {
			t.Errorf("an honest pod: %v", err)
		}
		slowest, most = max(slowest, time.Since(began)), max(most, resident(t, injector))
	}
	close(end)
	asked := 0
	for range 4 {
		asked += <-done
	}
	figures.Tell(t, "100 slow and %d large questions: 30 pods admitted, the slowest in %v; resident %d MB, at most %d MB", asked, slowest.Round(time.Millisecond), before, most)
	if most > 256 || slowest > 4*time.Second || asked < 10 {
		t.Errorf("%d MB, %v, %d large questions", most, slowest, asked)
	}
}

// resident is what a program has in memory, in MB.
func resident(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize() >> 20
}
