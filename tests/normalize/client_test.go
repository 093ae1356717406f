package normalize

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// answerTimeout ends a wait for an answer that does not come: a proxy that
// waits for the rest of a request would otherwise stop the tests.
const answerTimeout = 5 * time.Second

// answer is what became of one request.
type answer struct {
	// Status is 0 where the connection was closed without an answer.
	Status int
	// Forwarded says that the application answered; Target is what it received.
	Forwarded bool
	Target    string
}

// client sends requests one after the other on a connection that it keeps.
type client struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// get sends one request with the target's bytes as they are.
func (c *client) get(target string) (answer, error) {
	return c.send("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")
}

// send writes a request and reads the answer. The connection is opened again
// only where the proxy had said that it would close it.
func (c *client) send(request string) (answer, error) {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, answerTimeout)
		if err != nil {
			return answer{}, err
		}
		c.conn, c.in = conn, bufio.NewReaderSize(conn, 256<<10)
	}
	if err := c.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return answer{}, err
	}
	if _, err := io.WriteString(c.conn, request); err != nil {
		return answer{}, fmt.Errorf("writing a request: %w", err)
	}
	return c.read()
}

func (c *client) read() (answer, error) {
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return answer{}, fmt.Errorf("no answer within %v", answerTimeout)
		}
		return answer{}, nil
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		c.close()
		return answer{}, fmt.Errorf("reading an answer: %w", err)
	}
	if response.Close {
		c.close()
	}
	got := answer{Status: response.StatusCode, Forwarded: response.Header.Get(echoed) != ""}
	if got.Forwarded {
		got.Target = string(body)
	}
	return got, nil
}
