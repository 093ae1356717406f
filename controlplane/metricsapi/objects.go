package metricsapi

import (
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// Mesh is what of a mesh has metrics.
type Mesh struct {
	// objects are sorted by name within each kind.
	objects map[string][]Object
	peers   map[mesh.Name]Peer
}

// MeshOf finds everything with metrics in the objects that a snapshot was made of.
// The labels of a Deployment and its like are those that all of its pods have: the
// mesh reads no others.
func MeshOf(objects smi.Objects, s *mesh.Snapshot) *Mesh {
	m := &Mesh{objects: map[string][]Object{}, peers: map[mesh.Name]Peer{}}
	labels := map[mesh.Name]map[string]string{}
	for _, p := range objects.Pods {
		name := mesh.Name{Namespace: p.Namespace, Name: p.Name}
		kind, owner := smi.OwnerOf(p)
		m.peers[name] = Peer{Kind: kind, Namespace: p.Namespace, Name: owner, Pod: p.Name}
		labels[name] = p.Labels
	}
	for _, w := range objects.Workloads {
		name := mesh.Name{Namespace: w.Namespace, Name: w.Name}
		if _, pod := m.peers[name]; !pod {
			m.peers[name] = Peer{Kind: kindWorkload, Namespace: w.Namespace, Name: w.Name}
			labels[name] = w.Labels
		}
	}
	found := map[Peer]*Object{}
	for _, w := range s.Workloads {
		m.member(found, m.peers[w.Name], labels[w.Name])
	}
	for _, ns := range objects.Namespaces {
		if o := found[Peer{Kind: KindNamespace, Name: ns.Name}]; o != nil {
			o.Labels = ns.Labels
		}
	}
	for _, t := range objects.TrafficSplits {
		kind, _ := KindOf("trafficsplits")
		o := &Object{Kind: kind, Name: mesh.Name{Namespace: t.Namespace, Name: t.Name}, Labels: t.Labels}
		if m.split(s, o) {
			found[o.peer()] = o
		}
	}
	for _, peer := range slices.SortedFunc(maps.Keys(found), Peer.compare) {
		m.objects[peer.Kind] = append(m.objects[peer.Kind], *found[peer])
	}
	return m
}

// member adds an instance to its pod, its workload and its namespace.
func (m *Mesh) member(found map[Peer]*Object, p Peer, labels map[string]string) {
	if p.Kind == "" {
		return
	}
	if p.Pod != "" {
		m.put(found, Peer{Kind: KindPod, Namespace: p.Namespace, Name: p.Pod}, labels)
	}
	if p.Kind != KindPod {
		m.put(found, Peer{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name}, withoutHashes(labels))
	}
	m.put(found, Peer{Kind: KindNamespace, Name: p.Namespace}, nil)
}

func (m *Mesh) put(found map[Peer]*Object, p Peer, labels map[string]string) {
	if o := found[p]; o != nil {
		maps.DeleteFunc(o.Labels, func(k, v string) bool { return labels[k] != v })
		return
	}
	for _, k := range Kinds() {
		if k.Name == p.Kind {
			found[p] = &Object{Kind: k, Name: mesh.Name{Namespace: p.Namespace, Name: p.Name}, Labels: maps.Clone(labels)}
		}
	}
}

// withoutHashes leaves out what tells the instances of a workload apart.
func withoutHashes(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	maps.DeleteFunc(out, func(k, _ string) bool {
		return k == smi.SidecarLabel || k == appsv1.DefaultDeploymentUniqueLabelKey || k == appsv1.ControllerRevisionHashLabelKey ||
			strings.HasPrefix(k, "statefulset.kubernetes.io/") || strings.HasPrefix(k, "apps.kubernetes.io/")
	})
	return out
}

// split adds apex and backends; false if the split is not in force.
func (m *Mesh) split(s *mesh.Snapshot, o *Object) bool {
	at := slices.IndexFunc(s.Splits, func(t mesh.Split) bool { return t.Name == o.Name })
	if at < 0 {
		return false
	}
	o.Apex = s.Splits[at].Root.Name
	for _, b := range s.Splits[at].Backends {
		backend := Backend{Name: b.Service.Name, Weight: b.Weight}
		service, _ := s.Service(b.Service)
		for _, port := range service.Ports {
			for _, e := range port.Endpoints {
				if p, known := m.peers[e.Workload]; known && !slices.Contains(backend.Peers, p) {
					backend.Peers = append(backend.Peers, p)
				}
			}
		}
		o.Backends = append(o.Backends, backend)
	}
	return true
}

// PeerOf is a workload of the snapshot as metrics name it.
func (m *Mesh) PeerOf(workload mesh.Name) (Peer, bool) {
	p, ok := m.peers[workload]
	return p, ok
}

// List returns the objects of a kind, in one namespace or, if that is empty, in all.
func (m *Mesh) List(k Kind, namespace string) (out []Object) {
	for _, o := range m.objects[k.Name] {
		if namespace == "" || o.Name.Namespace == namespace {
			out = append(out, o)
		}
	}
	return out
}

// Get returns one object.
func (m *Mesh) Get(k Kind, name mesh.Name) (Object, bool) {
	for _, o := range m.objects[k.Name] {
		if o.Name == name {
			return o, true
		}
	}
	return Object{}, false
}
