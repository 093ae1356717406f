package requests

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// answerTimeout ends the wait for a first answer that does not come.
	answerTimeout = 3 * time.Second
	// silence is how long a connection is watched for further answers.
	silence = 100 * time.Millisecond
	// pause is long enough for a sidecar to have acted on what came before it.
	pause = 50 * time.Millisecond
)

// answer is one answer to what was sent.
type answer struct {
	status int
	// stream is where it came in HTTP/2.
	stream uint32
	// id is the one that an application read in the request it answered.
	id string
	// grpc is grpc-status, by which gRPC's callers hear of a refusal.
	grpc string
	// length is the content-length, 0 where there is none.
	length int
}

func (a answer) String() string {
	switch {
	case a.grpc != "":
		return fmt.Sprintf("%d grpc-status %s", a.status, a.grpc)
	case a.length == len(denial):
		return strconv.Itoa(a.status) + " policy"
	}
	return strconv.Itoa(a.status)
}

// outcome is what the caller learns.
type outcome struct {
	answers []answer
	// ended: the other side ended the connection or the stream.
	ended bool
	// odd is what the caller could not make sense of.
	odd error
}

func (o outcome) String() string {
	var words []string
	for _, a := range o.answers {
		words = append(words, a.String())
	}
	switch {
	case o.odd != nil:
		words = append(words, o.odd.Error())
	case len(words) == 0 && o.ended:
		words = append(words, "reset")
	case len(words) == 0:
		words = append(words, "silence")
	}
	return strings.Join(words, ",")
}

// sendText writes bytes of HTTP/1 and reads the answers. brief ends with the
// first.
func sendText(conn net.Conn, text, id string, brief bool) outcome {
	var o outcome
	text = strings.ReplaceAll(text, idMark, id)
	if o.odd = conn.SetDeadline(time.Now().Add(answerTimeout)); o.odd != nil {
		return o
	}
	for i, part := range strings.Split(text, pauseMark) {
		if i > 0 {
			time.Sleep(pause)
		}
		// A refusal may come, and the connection end, before all is written.
		if _, err := io.WriteString(conn, part); err != nil {
			break
		}
	}
	in := bufio.NewReader(conn)
	method, _, _ := strings.Cut(text, " ")
	for {
		response, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			o.end(err)
			return o
		}
		if response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		o.answers = append(o.answers, answer{
			status: response.StatusCode, id: response.Header.Get(echoHeader),
			grpc: response.Header.Get("Grpc-Status"), length: int(response.ContentLength),
		})
		if brief || response.StatusCode == http.StatusSwitchingProtocols {
			return o
		}
		if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			o.odd = err
			return o
		}
		// A body that the end of the connection ends may be cut short.
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			o.end(err)
			return o
		}
		method = http.MethodGet
	}
}

// end notes why nothing more was read.
func (o *outcome) end(err error) {
	var network *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		o.ended = true
	default:
		o.odd = err
	}
}

// sendFrames writes frames of HTTP/2 and reads the answers on all streams, until
// there are enough, or, where enough is 0, until silence.
func sendFrames(conn net.Conn, frames []frame, id string, enough int) outcome {
	var o outcome
	text, err := encoded(frames, id)
	if err != nil {
		return outcome{odd: err}
	}
	if o.odd = conn.SetDeadline(time.Now().Add(answerTimeout)); o.odd != nil {
		return o
	}
	if _, err := io.WriteString(conn, text); err != nil {
		o.ended = true // a refusal may still be there to read
	}
	framer := xhttp2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			o.end(err)
			return o
		}
		before := len(o.answers)
		if done := o.frame(f, framer); done || enough > 0 && len(o.answers) >= enough {
			return o
		}
		if enough == 0 && len(o.answers) > before || o.ended {
			if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
				o.odd = err
				return o
			}
		}
	}
}

// frame takes in a frame of the other side; true: there will be no more.
func (o *outcome) frame(f xhttp2.Frame, framer *xhttp2.Framer) (done bool) {
	switch f := f.(type) {
	case *xhttp2.SettingsFrame:
		if !f.IsAck() {
			_ = framer.WriteSettingsAck() // the other side may be gone
		}
	case *xhttp2.GoAwayFrame:
		o.ended = true
		return true
	case *xhttp2.RSTStreamFrame:
		o.ended = true
	case *xhttp2.MetaHeadersFrame:
		status, _ := strconv.Atoi(f.PseudoValue("status"))
		if status < 200 && status != http.StatusSwitchingProtocols {
			return false // trailers, or 100 Continue
		}
		a := answer{status: status, stream: f.StreamID}
		for _, one := range f.RegularFields() {
			switch one.Name {
			case echoHeader:
				a.id = one.Value
			case "grpc-status":
				a.grpc = one.Value
			case "content-length":
				a.length, _ = strconv.Atoi(one.Value)
			}
		}
		o.answers = append(o.answers, a)
	}
	return false
}
