package controlplane

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/wasmesh/wasmesh/controlplane/door"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/status"
)

const (
	// peersService is the Service whose endpoints are the replicas.
	peersService = "wasmesh-controlplane"
	// proxiesPath tells the proxies of one replica, unsettledPath those of them that
	// refuse something, or have not taken a user's filter yet.
	proxiesPath   = "/v1/proxies"
	unsettledPath = "/v1/proxies/refusing" // what the build before calls it
	// peerTimeout bounds a question: who waits for the answer has others.
	peerTimeout = time.Second
	// maxPeers are connections at a time; of those that say nothing the oldest goes.
	maxPeers  = 64
	maxAnswer = 64 << 20 // bytes; 5,000 proxies need 2 MB
)

// peers are the replicas of this control plane: any of them serves any sidecar,
// so that each knows a part of what is going on. Alone, it asks nobody.
type peers struct {
	plane *plane
	// port is the one at which all of them are asked.
	port   string
	client *http.Client

	mu sync.Mutex
	// told are the last answers about unsettled proxies, by replica.
	told map[string][]serve.Proxy
}

// peer is another replica.
type peer struct{ name, address string }

// openPeers must come after the authority was opened.
func (p *plane) openPeers() error {
	p.peers = &peers{plane: p, told: map[string][]serve.Proxy{}}
	if p.options.Peers == "" {
		return nil
	}
	if p.options.Kubernetes == nil {
		return errors.New("--peers needs --kubernetes: a folder has one control plane")
	}
	_, port, err := net.SplitHostPort(p.options.Peers)
	if err != nil {
		return fmt.Errorf("peers address: %w", err)
	}
	_, config, err := p.authority.ReplicaTLS()
	if err != nil {
		return err
	}
	p.peers.port = port
	p.peers.client = &http.Client{Timeout: peerTimeout, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	return nil
}

// servePeers tells other replicas, and nobody else, which sidecars this one serves.
func (p *plane) servePeers(ctx context.Context, l net.Listener) error {
	config, _, err := p.authority.ReplicaTLS()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	tell := func(w http.ResponseWriter, r *http.Request, proxies []serve.Proxy) {
		door.Heard(r)
		p.tellJSON(w, append([]serve.Proxy{}, proxies...))
	}
	mux.HandleFunc("GET "+proxiesPath, func(w http.ResponseWriter, r *http.Request) { tell(w, r, p.server.Proxies()) })
	mux.HandleFunc("GET "+unsettledPath, func(w http.ResponseWriter, r *http.Request) { tell(w, r, unsettled(p.server.Proxies())) })
	s := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
		MaxHeaderBytes: 8 << 10, ErrorLog: door.Failures(p.options.Log, "peers: a connection failed"), ConnContext: door.Remember,
	}
	// A certificate is looked at for every question.
	s.SetKeepAlivesEnabled(false)
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(tls.NewListener(door.Listen(l, maxPeers, maxPeers), config)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("peers on %s: %w", l.Addr(), err)
	}
	return nil
}

func unsettled(proxies []serve.Proxy) (out []serve.Proxy) {
	for _, p := range proxies {
		if len(p.Refusals) > 0 || len(awaited(p)) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// others are the replicas that the cluster knows, but this one, sorted.
func (s *peers) others() []peer {
	objects, k := s.plane.objects.Load(), s.plane.options.Kubernetes
	if objects == nil || k == nil {
		return nil
	}
	var out []peer
	for _, slice := range objects.EndpointSlices {
		if slice.Namespace != k.Namespace || slice.Labels[discoveryv1.LabelServiceName] != peersService {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.TargetRef == nil || e.TargetRef.Name == k.Replica || len(e.Addresses) == 0 {
				continue
			}
			known := func(p peer) bool { return p.name == e.TargetRef.Name } // by its other family
			if !slices.ContainsFunc(out, known) {
				out = append(out, peer{e.TargetRef.Name, e.Addresses[0]})
			}
		}
	}
	slices.SortFunc(out, func(a, b peer) int { return cmp.Compare(a.name, b.name) })
	return out
}

// answer is what one replica says.
type answer struct {
	peer
	proxies []serve.Proxy
	err     error
}

// ask asks all others at once, and waits for each no longer than peerTimeout.
func (s *peers) ask(ctx context.Context, path string) []answer {
	answers := []answer{}
	for _, p := range s.others() {
		answers = append(answers, answer{peer: p})
	}
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i].proxies, answers[i].err = s.askOne(ctx, answers[i].peer, path) })
	}
	all.Wait()
	return answers
}

func (s *peers) askOne(ctx context.Context, p peer, path string) (proxies []serve.Proxy, err error) {
	if s.client == nil {
		return nil, errors.New("it was not asked, as this replica runs without --peers")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(p.address, s.port)+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s; is it of this version?", request.URL, response.Status)
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&proxies)
	return proxies, err
}

// proxies are those of all replicas, sorted by name; in a cluster, also who of
// them said what, this replica first.
func (s *peers) proxies(ctx context.Context) ([]serve.Proxy, []status.Replica) {
	all := slices.Clone(s.plane.server.Proxies())
	if s.plane.options.Kubernetes == nil {
		return all, nil
	}
	replicas := []status.Replica{{Name: s.plane.options.Kubernetes.Replica, Proxies: len(all)}}
	for i := range all {
		all[i].Replica = replicas[0].Name
	}
	for _, a := range s.ask(ctx, proxiesPath) {
		r := status.Replica{Name: a.name, Proxies: len(a.proxies)}
		if a.err != nil {
			r.Error = a.err.Error()
		}
		for i := range a.proxies {
			a.proxies[i].Replica = a.name
		}
		replicas, all = append(replicas, r), append(all, a.proxies...)
	}
	slices.SortStableFunc(all, byName)
	return all, replicas
}

// unsettled are the proxies of all replicas that refuse something, or have not
// taken a user's filter yet, sorted by name.
// A replica that does not answer has not changed what it said: nothing is solved
// by that.
func (s *peers) unsettled(ctx context.Context) []serve.Proxy {
	all, told := unsettled(s.plane.server.Proxies()), map[string][]serve.Proxy{}
	answers := s.ask(ctx, unsettledPath)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range answers {
		if a.err != nil {
			a.proxies = s.told[a.name]
		}
		told[a.name] = a.proxies
		all = append(all, a.proxies...)
	}
	s.told = told
	slices.SortStableFunc(all, byName)
	return all
}

func byName(a, b serve.Proxy) int { return mesh.Name.Compare(a.Name, b.Name) }
