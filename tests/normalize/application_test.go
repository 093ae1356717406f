package normalize

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// echoed marks an answer of the application, which no proxy would make up.
const echoed = "X-Echoed"

// application answers each request with the request target it received. It
// reads the request line itself, as net/http would refuse some targets.
type application struct {
	listener net.Listener
	served   atomic.Int64
}

func startApplication(t *testing.T) *application {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &application{listener: listener}
	t.Cleanup(func() { listener.Close() })
	go a.accept()
	return a
}

func (a *application) port() uint16 { return uint16(a.listener.Addr().(*net.TCPAddr).Port) }

func (a *application) accept() {
	for {
		conn, err := a.listener.Accept()
		if err != nil {
			return
		}
		go a.serve(conn)
	}
}

func (a *application) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 256<<10)
	for {
		lines, err := readHead(in)
		if err != nil {
			return
		}
		_, target, ok := strings.Cut(strings.TrimSuffix(lines[0], " HTTP/1.1\r\n"), " ")
		if !ok {
			return
		}
		a.served.Add(1)
		if _, err := echo(conn, target); err != nil {
			return
		}
	}
}

// echo answers a request with a text.
func echo(conn io.Writer, text string) (int, error) {
	return fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s: yes\r\nContent-Length: %d\r\n\r\n%s", echoed, len(text), text)
}

// readHead reads one request without a body and returns its lines, with their
// ends: the request line and the headers.
func readHead(in *bufio.Reader) (lines []string, err error) {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line == "\r\n" && len(lines) > 0 {
			return lines, nil
		}
		lines = append(lines, line)
	}
}
