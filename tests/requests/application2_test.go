package requests

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// application2 is one connection of an application that speaks HTTP/2 in clear
// text, as those of gRPC do. It gets from its sidecar all that HTTP/2 can say,
// trailers too.
type application2 struct {
	applications *applications
	kind         kind
	framer       *xhttp2.Framer
	// ids are those of the requests, by stream.
	ids map[uint32]string
}

// serve2 serves one connection to its end.
func (a *applications) serve2(conn net.Conn, k kind) error {
	preface := make([]byte, len(xhttp2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil || string(preface) != xhttp2.ClientPreface {
		return errors.Join(err, errors.New("no HTTP/2"))
	}
	s := &application2{applications: a, kind: k, framer: xhttp2.NewFramer(conn, conn), ids: map[uint32]string{}}
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := s.framer.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingEnableConnectProtocol, Val: 1}); err != nil {
		return err
	}
	for {
		f, err := s.framer.ReadFrame()
		var malformed xhttp2.StreamError
		if errors.As(err, &malformed) {
			a.note(arrival{kind: k, fault: fmt.Sprintf("malformed HTTP/2: %v", malformed)})
			continue
		}
		if err != nil {
			return err
		}
		if err := s.frame(f); err != nil {
			return err
		}
	}
}

// frame answers a request when it has ended, as trailers come last.
func (s *application2) frame(f xhttp2.Frame) error {
	stream, ended := f.Header().StreamID, false
	switch f := f.(type) {
	case *xhttp2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		return s.framer.WriteSettingsAck()
	case *xhttp2.PingFrame:
		if f.IsAck() {
			return nil
		}
		return s.framer.WritePing(true, f.Data)
	case *xhttp2.MetaHeadersFrame:
		s.headers(f)
		ended = f.StreamEnded() || f.PseudoValue("method") == http.MethodConnect
	case *xhttp2.DataFrame:
		ended = f.StreamEnded()
	}
	if !ended || s.ids[stream] == "" {
		return nil
	}
	return s.answer(stream)
}

// headers notes a request, or a role in the trailers of one.
func (s *application2) headers(f *xhttp2.MetaHeadersFrame) {
	r := arrival{kind: s.kind, method: f.PseudoValue("method"), target: f.PseudoValue("path")}
	for _, one := range f.RegularFields() {
		if one.Name == idHeader {
			r.id = one.Value
		}
		r.header(one.Name, one.Value)
	}
	if id, trailers := s.ids[f.StreamID]; trailers {
		if len(r.roles) > 0 {
			s.applications.note(arrival{kind: s.kind, id: id, fault: fmt.Sprintf("the role %q in a trailer", r.roles)})
		}
		return
	}
	// A WebSocket is a GET in HTTP/1 and a CONNECT in HTTP/2 (RFC 8441).
	if r.method == http.MethodConnect && f.PseudoValue("protocol") == "websocket" {
		r.method = http.MethodGet
	}
	s.ids[f.StreamID] = r.id
	s.applications.note(r)
}

func (s *application2) answer(stream uint32) error {
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	encoder.SetMaxDynamicTableSize(0)
	for _, one := range []hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: echoHeader, Value: s.ids[stream]}} {
		if err := encoder.WriteField(one); err != nil {
			return err
		}
	}
	return s.framer.WriteHeaders(xhttp2.HeadersFrameParam{
		StreamID: stream, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true,
	})
}
