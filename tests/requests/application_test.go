package requests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// idHeader tells the shapes apart on their way; no policy speaks of it.
	idHeader = "x-shape"
	// echoHeader carries the id back, so that an answer to somebody else's request
	// is seen as such.
	echoHeader = "x-echo"
	// earlyLimit is how long an application waits, before it answers an upgrade,
	// for bytes that should not be there yet.
	earlyLimit = 150 * time.Millisecond
)

// arrival is a request that reached an application.
type arrival struct {
	kind           kind
	id             string
	method, target string
	// roles are all values that an application may take for the caller's role.
	roles []string
	// fault says what no proxy may send on: malformed lines, a body with two
	// lengths, bytes ahead of the answer to an upgrade.
	fault string
}

// applications are the server's, one at each port. They read requests
// themselves, as lenient as applications are with paths, and as strict with
// lines as is good for a test.
type applications struct {
	listeners []net.Listener
	mu        sync.Mutex
	seen      map[string][]arrival
}

// startApplications listens at the ports of all kinds.
func startApplications(ctx context.Context, at netip.Addr) (*applications, error) {
	a := &applications{seen: map[string][]arrival{}}
	for _, k := range kinds() {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(at, k.port).String())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("application %s: %w", k.name, err), a.stop())
		}
		a.listeners = append(a.listeners, l)
		go a.accept(l, k)
	}
	return a, nil
}

func (a *applications) stop() error {
	var failures []error
	for _, l := range a.listeners {
		failures = append(failures, l.Close())
	}
	return errors.Join(failures...)
}

func (a *applications) accept(l net.Listener, k kind) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if k.h2 {
				_ = a.serve2(conn, k) // how a connection ends says nothing
				return
			}
			in := bufio.NewReaderSize(conn, 256<<10)
			for a.serve(in, conn, k) == nil {
			}
		}()
	}
}

func (a *applications) note(r arrival) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[r.id] = append(a.seen[r.id], r)
}

// take returns what has arrived since the last call, by id.
func (a *applications) take() map[string][]arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := a.seen
	a.seen = map[string][]arrival{}
	return taken
}

// serve reads one request, notes it, and answers 200. An upgrade it declines so
// too, unless the path ends with /accept: then the answer is 101. To a path that
// ends with /stream or /pretend the answer takes a while, and to the latter it
// also names the protocol, as if that had changed.
func (a *applications) serve(in *bufio.Reader, conn net.Conn, k kind) error {
	r := arrival{kind: k}
	header, err := readHead(in, &r)
	if err != nil {
		if r.fault != "" {
			a.note(r)
		}
		return err
	}
	upgrade := len(header["upgrade"]) > 0
	if upgrade {
		if offer := header["upgrade"]; len(offer) != 1 || offer[0] != "websocket" {
			r.fault += fmt.Sprintf("an upgrade to %q; ", offer)
		}
		r.fault += early(in, conn)
	}
	a.note(r)
	if upgrade {
		// Who declines reads on: what comes next is a request to it.
		return answerUpgrade(in, conn, r)
	}
	if err := skipBody(in, header, func(fault string) {
		a.note(arrival{kind: k, id: r.id, fault: fault})
	}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s: %s\r\nContent-Length: 0\r\n\r\n", echoHeader, r.id)
	return err
}

// readHead reads the request line and the headers, whose names it lowers.
func readHead(in *bufio.Reader, r *arrival) (map[string][]string, error) {
	line, err := readLine(in, r)
	if err != nil {
		return nil, err
	}
	words := strings.Split(line, " ")
	if len(words) != 3 || words[2] != "HTTP/1.1" || !strings.HasPrefix(words[1], "/") {
		r.fault += fmt.Sprintf("request line %.200q; ", line)
	}
	r.method, r.target = words[0], strings.Join(words[1:max(1, len(words)-1)], " ")
	header := map[string][]string{}
	for {
		line, err := readLine(in, r)
		if err != nil || line == "" {
			r.id = strings.Join(header[idHeader], ",")
			if len(header["content-length"])+len(header["transfer-encoding"]) > 1 {
				r.fault += "a body with more than one length; "
			}
			return header, err
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t\"(),/;<=>?@[\\]{}") {
			r.fault += fmt.Sprintf("header line %.200q; ", line)
		}
		name, value = strings.ToLower(name), strings.Trim(value, " \t")
		header[name] = append(header[name], value)
		r.header(name, value)
	}
}

// header notes a role, and what only a proxy may write.
func (r *arrival) header(name, value string) {
	switch plain := strings.ReplaceAll(name, "_", "-"); {
	case plain == "x-role":
		// Blanks around a value do not belong to it (RFC 9110, 5.5).
		r.roles = append(r.roles, strings.Trim(value, " \t"))
	case plain == "x-forwarded-client-cert", strings.HasPrefix(plain, "x-envoy-"):
		r.fault += fmt.Sprintf("%s: %.100q; ", name, value)
	}
}

// readLine reads a line, which must end with CR LF and have no other control
// characters but tabs.
func readLine(in *bufio.Reader, r *arrival) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		r.fault += fmt.Sprintf("line %.200q; ", line)
	}
	return text, nil
}

// early looks for bytes behind an upgrade that nobody has answered yet.
func early(in *bufio.Reader, conn net.Conn) string {
	if err := conn.SetReadDeadline(time.Now().Add(earlyLimit)); err != nil {
		return err.Error()
	}
	_, err := in.Peek(1)
	if reset := conn.SetReadDeadline(time.Time{}); reset != nil {
		return reset.Error()
	}
	if err != nil {
		return ""
	}
	bytes, _ := in.Peek(in.Buffered())
	return fmt.Sprintf("before its upgrade was answered, it was followed by %.200q; ", bytes)
}

// answerUpgrade accepts an upgrade, after which everything belongs to the two
// ends, or declines it.
func answerUpgrade(in io.Reader, conn net.Conn, r arrival) error {
	const protocol = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	head := func(status, fields string) error {
		_, err := fmt.Fprintf(conn, "HTTP/1.1 %s\r\n%s: %s\r\n%s\r\n", status, echoHeader, r.id, fields)
		return err
	}
	path := readLiterally(r.target)
	switch path[strings.LastIndexByte(path, '/')+1:] {
	case "accept":
		if err := head("101 Switching Protocols", protocol); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, in)
		return errors.Join(io.EOF, err)
	case "pretend":
		return trickle(conn, head("200 OK", protocol+"Transfer-Encoding: chunked\r\n"))
	case "stream":
		return trickle(conn, head("200 OK", "Transfer-Encoding: chunked\r\n"))
	}
	return head("200 OK", "Content-Length: 0\r\n")
}

// trickle sends a body that takes longer than a caller needs to go on.
func trickle(conn net.Conn, err error) error {
	if err == nil {
		_, err = io.WriteString(conn, "1\r\na\r\n")
	}
	time.Sleep(12 * pause)
	if err == nil {
		_, err = io.WriteString(conn, "0\r\n\r\n")
	}
	return err
}

// skipBody reads a body and its trailers; roles in trailers are told as a fault,
// as some applications add trailers to the headers.
func skipBody(in *bufio.Reader, header map[string][]string, tell func(string)) error {
	if length := header["content-length"]; len(length) > 0 {
		n, err := strconv.ParseUint(length[0], 10, 31)
		if err != nil {
			tell(fmt.Sprintf("content-length %q", length[0]))
			return err
		}
		_, err = io.CopyN(io.Discard, in, int64(n))
		return err
	}
	if !slices.Contains(header["transfer-encoding"], "chunked") {
		return nil
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(line, "\r\n"), 16, 31)
		if err != nil {
			tell(fmt.Sprintf("chunk size %.100q", line))
			return err
		}
		if n == 0 {
			break
		}
		if _, err := io.CopyN(io.Discard, in, int64(n)+2); err != nil {
			return err
		}
	}
	var trailers arrival
	for {
		line, err := readLine(in, &trailers)
		if err != nil || line == "" {
			return err
		}
		tell(fmt.Sprintf("trailer %.100q", line))
	}
}
