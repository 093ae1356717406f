package review

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

const good = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","object":{}}}`

func request(kind, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	return r
}

// with puts something for the object.
func with(object string) string { return strings.Replace(good, "{}", object, 1) }

// TestRead: each that is refused beside a twin that differs in one thing.
func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		good, bad asked
		code      int
	}{
		"content type": {asked{"application/json; charset=utf-8", good}, asked{"text/plain", good}, 415},
		"no type":      {asked{"application/json", good}, asked{"", good}, 415},
		"size":         {asked{"application/json", good + strings.Repeat(" ", Most-len(good))}, asked{"application/json", good + strings.Repeat(" ", Most-len(good)+1)}, 413},
		"version":      {asked{"application/json", good}, asked{"application/json", strings.Replace(good, "io/v1", "io/v1beta1", 1)}, 400},
		"kind":         {asked{"application/json", good}, asked{"application/json", strings.Replace(good, "nReview", "n", 1)}, 400},
		"no request":   {asked{"application/json", good}, asked{"application/json", strings.Replace(good, "request", "response", 1)}, 400},
		"cut":          {asked{"application/json", good}, asked{"application/json", good[:len(good)-1]}, 400},
	} {
		d := NewReader(20, 1, time.Millisecond)
		_, done, err := d.Read(httptest.NewRecorder(), request(c.good.kind, c.good.body))
		if err != nil {
			t.Errorf("%s, the good one: %v", name, err)
			continue
		}
		done()
		_, _, err = d.Read(httptest.NewRecorder(), request(c.bad.kind, c.bad.body))
		if e := new(Error); !errors.As(err, &e) || e.Code != c.code || e.Error() == "" {
			t.Errorf("%s: %v, want code %d", name, err, c.code)
		}
		if d.waiting.Load() != 0 || len(d.slots) != 0 || d.room.Waiting() != 0 {
			t.Errorf("%s: what was taken is not given back", name)
		}
	}
}

type asked struct{ kind, body string }

// TestFits counts without decoding.
func TestFits(t *testing.T) {
	d := NewReader(4, 1, time.Second)
	for object, fits := range map[string]bool{
		`[0,0,0,0]`: true, `[0,0,0,0,0]`: false, `{"a":{"b":[0,0]}}`: true, `{"a":{"b":[0,0,0]}}`: false,
		`"{{{{{\"{{{"`: true, `{"a":"\\","b":[{}]}`: true, `{"a":"\\","b":[{},{}]}`: false,
	} {
		q, done, err := d.Read(httptest.NewRecorder(), request("application/json", with(object)))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Fits(q.Request); (err == nil) != fits {
			t.Errorf("%s: %v", object, err)
		}
		done()
	}
}

// TestTurns: one that gets no turn is told so, and gets it afterwards.
func TestTurns(t *testing.T) {
	d := NewReader(100, 1, 10*time.Millisecond)
	_, done, err := d.Read(httptest.NewRecorder(), request("application/json", good))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = d.Read(httptest.NewRecorder(), request("application/json", good))
	if e := new(Error); !errors.As(err, &e) || e.Code != http.StatusServiceUnavailable {
		t.Errorf("there is no turn: %v", err)
	}
	done()
	if _, _, err = d.Read(httptest.NewRecorder(), request("application/json", good)); err != nil {
		t.Errorf("there is one: %v", err)
	}
	d.waiting.Store(maxWaiting)
	if _, _, err = d.Read(httptest.NewRecorder(), request("application/json", good)); err == nil || d.waiting.Load() != maxWaiting {
		t.Errorf("the memory is full: %v", err)
	}
}

// TestSlowAskers: those who begin and do not go on keep nobody waiting.
func TestSlowAskers(t *testing.T) {
	d := NewReader(100, 1, time.Second)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, done, err := d.Read(w, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		done()
	}))
	server.Config = Server(server.Config.Handler, slog.New(slog.DiscardHandler))
	server.Start()
	defer server.Close()
	var slow []net.Conn
	for range 3 * maxArriving {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", Most)
		slow = append(slow, c)
	}
	for range 20 {
		began := time.Now()
		r, err := http.Post(server.URL, "application/json", strings.NewReader(good))
		if err != nil || r.StatusCode != http.StatusOK || time.Since(began) > time.Second {
			t.Fatalf("an honest one: %v %v after %v", r, err, time.Since(began))
		}
		r.Body.Close()
	}
	ended := func() (n int) {
		for _, c := range slow {
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // one in the past would hide what has come
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil && r.StatusCode == http.StatusBadRequest || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				n++
			}
		}
		return n
	}
	// Two thirds have made room for others; the time of the rest ends by itself.
	time.Sleep(time.Second)
	if n := ended(); n < 2*maxArriving {
		t.Errorf("%d slow ones of %d were ended at once", n, len(slow))
	}
	time.Sleep(AskTimeout)
	if n := ended(); n != len(slow) {
		t.Errorf("%d slow ones of %d were ended", n, len(slow))
	}
}

// TestMemory: what would fill the memory is not decoded.
func TestMemory(t *testing.T) {
	bomb := with(`{"spec":{"containers":[` + strings.TrimSuffix(strings.Repeat("{},", Most/3-100), ",") + `]}}`)
	d := NewReader(50_000, 4, time.Second)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	q, done, err := d.Read(httptest.NewRecorder(), request("application/json", bomb))
	if err != nil || d.Fits(q.Request) == nil {
		t.Fatalf("a bomb: %v", err)
	}
	done()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 10*Most {
		t.Errorf("%d bytes for a question of %d", used, len(bomb))
	}
}

// TestFinish: a server that is to end answers who asks in time, and who has asked.
func TestFinish(t *testing.T) {
	asked := make(chan struct{})
	slow := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(asked)
			time.Sleep(leave + time.Second)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(slow))
	answered := make(chan error, 1)
	go func() { answered <- get(server.URL + "/slow") }()
	<-asked
	finished := make(chan error, 1)
	go func() { finished <- Finish(server.Config) }()
	time.Sleep(leave / 2)
	if err := get(server.URL); err != nil {
		t.Errorf("who asks in time: %v", err)
	}
	if err := <-answered; err != nil {
		t.Errorf("who had asked: %v", err)
	}
	if err := <-finished; err != nil {
		t.Error(err)
	}
	if get(server.URL) == nil {
		t.Error("it answers after its end")
	}
}

func get(url string) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}
