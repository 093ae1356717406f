package wasmhost

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wasmesh/wasmesh/injector/envoy"
)

const (
	// findTimeout covers a first download of the pinned Envoy.
	findTimeout = 5 * time.Minute
	// startTimeout is many times what a start with all doors takes, 10 s.
	startTimeout = 2 * time.Minute
)

// record is one line of Envoy's log, continuation lines included.
type record struct{ thread, level, text string }

// proxy is a running Envoy.
type proxy struct {
	cmd   *exec.Cmd
	admin http.Client
	ports map[string]string

	mu      sync.Mutex
	records []record
	main    string
	started chan struct{}
	ended   chan struct{}
}

// startEnvoy runs an Envoy with the configuration; end must be called.
func startEnvoy(ctx context.Context, dir string, config []byte) (*proxy, error) {
	find, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	found, err := envoy.Find(find, envoy.ToolsDir(filepath.Join("..", "..")))
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "bootstrap.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	binary, err := filepath.Abs(found.Path)
	if err != nil {
		return nil, err
	}
	p := &proxy{started: make(chan struct{}), ended: make(chan struct{})}
	p.cmd = exec.Command(binary, "-c", file, "--concurrency", "1", "--disable-hot-restart",
		"--log-level", "info", "--component-log-level", "wasm:trace", "--log-format", recordMark+"%t|%l|%v")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	diesWithParent(p.cmd.SysProcAttr)
	log, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.follow(log)
	select {
	case <-p.started:
	case <-p.ended:
		return nil, fmt.Errorf("envoy ended before it served:\n%s", p.tail())
	case <-time.After(startTimeout):
		p.end()
		return nil, fmt.Errorf("envoy does not serve after %v:\n%s", startTimeout, p.tail())
	}
	p.admin = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "admin"))
		},
	}}
	if err := p.readPorts(); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

func (p *proxy) end() {
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = p.cmd.Wait()
}

// recordMark begins each record, as a guest's line may contain newlines.
const recordMark = "@@"

// follow reads Envoy's log to its end, so that Envoy never waits for a reader.
func (p *proxy) follow(log io.Reader) {
	in := bufio.NewScanner(log)
	in.Buffer(nil, 4<<20)
	serving := false
	for in.Scan() {
		line, begins := strings.CutPrefix(in.Text(), recordMark)
		parts := strings.SplitN(line, "|", 3)
		p.mu.Lock()
		switch {
		case begins && len(parts) == 3:
			p.records = append(p.records, record{parts[0], parts[1], parts[2]})
		case len(p.records) > 0:
			p.records[len(p.records)-1].text += "\n" + in.Text()
		}
		if !serving && strings.Contains(line, "starting main dispatch loop") {
			serving, p.main = true, parts[0]
			close(p.started)
		}
		p.mu.Unlock()
	}
	close(p.ended)
}

func (p *proxy) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, r := range p.records[max(0, len(p.records)-40):] {
		fmt.Fprintf(&b, "%s %s %s\n", r.thread, r.level, r.text)
	}
	return b.String()
}

// mark is a place in the log.
func (p *proxy) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.records)
}

// said returns what a door's guest logged in a worker, or in the main thread,
// since a mark.
func (p *proxy) said(d door, since int, inMain bool) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for _, r := range p.records[since:] {
		rest, ok := strings.CutPrefix(r.text, "wasm log ")
		message, ours := strings.CutPrefix(strings.TrimPrefix(rest, d.name+" "), d.root()+" "+d.vm+": ")
		if ok && ours && (r.thread == p.main) == inMain {
			lines = append(lines, strings.TrimSuffix(levelName(r.level)+" "+message, "\n"))
		}
	}
	return lines
}

func levelName(short string) string {
	if short == "warning" {
		return "warn"
	}
	return short
}

// readPorts asks the administration interface which ports were free.
func (p *proxy) readPorts() error {
	body, err := p.get("/listeners?format=json")
	if err != nil {
		return err
	}
	var found struct {
		Statuses []struct {
			Name  string
			Local struct {
				Socket struct {
					Port int `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &found); err != nil {
		return fmt.Errorf("envoy's listeners: %w", err)
	}
	p.ports = map[string]string{}
	for _, s := range found.Statuses {
		p.ports[s.Name] = strconv.Itoa(s.Local.Socket.Port)
	}
	return nil
}

func (p *proxy) get(path string) ([]byte, error) {
	answer, err := p.admin.Get("http://admin" + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

func (p *proxy) dial(d door) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(host, p.ports[d.name]), 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("door %s: %w", d.name, err)
	}
	return c, c.SetDeadline(time.Now().Add(15 * time.Second))
}
