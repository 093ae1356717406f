// Package sidecar is the process that runs beside one Envoy: it makes the
// workload's key, joins the mesh, hands key and certificate to Envoy as files
// in memory, and ends Envoy when it ends itself.
//
// It must never let a key leave the run folder, never pass a secret to Envoy by
// environment or argument, never restart an Envoy that died (that would hide
// it), and never import Kubernetes or go-control-plane: it runs once per
// workload and stays small.
package sidecar

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"

	"github.com/wasmesh/wasmesh/controlplane/ca"
)

// What is in the run folder, which is Envoy's working directory: the control
// plane names the files relative to it, as it knows no paths of this machine.
const (
	IdentityFile  = "identity.json"
	TrustFile     = "trust.json"
	BootstrapFile = "bootstrap.json"
	AdminSocket   = "admin.sock"
	ModulesLink   = "modules"
)

// The names under which listeners and clusters refer to the two files.
const (
	IdentitySecret = "identity"
	TrustSecret    = "trust"
)

// maxSocketPath is sun_path of Linux, 108 bytes with the final zero.
const maxSocketPath = 107

// Config is all that the start configuration of one Envoy depends on.
type Config struct {
	Workload       string // namespace/name
	ServiceAccount string // namespace/name
	TrustDomain    string
	// XDS is host:port of the control plane, an IP address or a name.
	XDS string
	// RunDir is the absolute path of the run folder.
	RunDir string
}

type object = map[string]any

// Bootstrap returns Envoy's start configuration as JSON. It is a pure function,
// and has no secrets in it: those come from the files it names. There is no
// listener in it: until the control plane has spoken, nothing is accepted.
func Bootstrap(c Config) ([]byte, error) {
	socket := filepath.Join(c.RunDir, AdminSocket)
	if !filepath.IsAbs(c.RunDir) {
		return nil, fmt.Errorf("run folder %q is not an absolute path", c.RunDir)
	}
	if len(socket) > maxSocketPath {
		return nil, fmt.Errorf("the path of the admin socket, %s, has %d bytes, and a socket can have at most %d; choose a shorter run folder", socket, len(socket), maxSocketPath)
	}
	if c.TrustDomain == "" || c.Workload == "" {
		return nil, errors.New("start configuration: workload and trust domain are needed")
	}
	controlPlane, err := controlPlaneCluster(c)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(object{
		// The control plane takes the identity from the certificate; the id is for
		// people who read logs and dumps.
		"node":  object{"id": c.Workload, "cluster": c.ServiceAccount},
		"admin": object{"address": object{"pipe": object{"path": socket, "mode": 0o600}}},
		"dynamic_resources": object{
			"ads_config": adsConfig(),
			"lds_config": overADS(),
			"cds_config": overADS(),
		},
		"static_resources": object{"clusters": []any{controlPlane}},
		"layered_runtime":  runtimeValues(),
		"stats_config":     statsConfig(),
		"overload_manager": overloadManager(),
		// Measured: this takes 13 to 15 MB off an Envoy that runs a Go module.
		"memory_allocator_manager": object{"bytes_to_release": 16 << 20, "memory_release_interval": "1s"},
	}, "", " ")
}

// RuntimeLayer names the switches that the control plane sets.
const RuntimeLayer = "wasmesh"

// runtimeValues raises the size up to which Envoy takes an expression in a route: its
// default, 100 instructions, refuses a dozen words joined by bars, and with them
// the whole route. The control plane bounds expressions itself, and it sets the
// switches of the second layer.
func runtimeValues() object {
	switches := overADS()
	// A workload that the mesh does not know has none; it starts all the same.
	switches["initial_fetch_timeout"] = "5s"
	return object{"layers": []any{
		object{
			"name":         "base",
			"static_layer": object{"re2": object{"max_program_size": object{"error_level": 1_000_000}}},
		},
		object{
			"name":       RuntimeLayer,
			"rtds_layer": object{"name": RuntimeLayer, "rtds_config": switches},
		},
	}}
}

func adsConfig() object {
	return object{
		"api_type":                       "DELTA_GRPC",
		"transport_api_version":          "V3",
		"set_node_on_first_message_only": true,
		"grpc_services": []any{object{"envoy_grpc": object{
			"cluster_name": "controlplane",
			// Envoy's own default goes up to 30 s: a mesh without a control plane
			// for that much longer than it has to be.
			"retry_policy": object{"retry_back_off": object{"base_interval": "0.2s", "max_interval": "2s"}},
		}}},
	}
}

// overADS waits for the first answer without limit: going on without one would
// call an Envoy started that has nothing to serve.
func overADS() object {
	return object{"ads": object{}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
}

func controlPlaneCluster(c Config) (object, error) {
	host, portText, err := net.SplitHostPort(c.XDS)
	if err != nil {
		return nil, fmt.Errorf("address of the control plane: %w; it must look like host:port", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 || host == "" {
		return nil, fmt.Errorf("address of the control plane %q: it must look like host:port", c.XDS)
	}
	discovery := "STRICT_DNS"
	if _, err := netip.ParseAddr(host); err == nil {
		discovery = "STATIC"
	}
	address := object{"socket_address": object{"address": host, "port_value": port}}
	return object{
		"name":            "controlplane",
		"type":            discovery,
		"connect_timeout": "2s",
		"load_assignment": object{
			"cluster_name": "controlplane",
			"endpoints":    []any{object{"lb_endpoints": []any{object{"endpoint": object{"address": address}}}}},
		},
		"typed_extension_protocol_options": object{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
				"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicit_http_config": object{"http2_protocol_options": object{
					// A control plane that vanished without a word is noticed after 35 s.
					"connection_keepalive": object{"interval": "30s", "timeout": "5s"},
				}},
			},
		},
		"transport_socket": controlPlaneTLS(c),
	}, nil
}

func controlPlaneTLS(c Config) object {
	return object{
		"name": "envoy.transport_sockets.tls",
		"typed_config": object{
			"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
			// No session is resumed: the certificate is looked at every time.
			"max_session_keys": 0,
			"common_tls_context": object{
				"tls_params":     object{"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
				"alpn_protocols": []any{"h2"},
				"tls_certificate_sds_secret_configs": []any{
					object{"name": IdentitySecret, "sds_config": fromFile(c.RunDir, IdentityFile)},
				},
				"combined_validation_context": object{
					"default_validation_context": object{"match_typed_subject_alt_names": []any{
						object{"san_type": "URI", "matcher": object{"exact": ca.ControlPlaneID(c.TrustDomain)}},
					}},
					"validation_context_sds_secret_config": object{"name": TrustSecret, "sds_config": fromFile(c.RunDir, TrustFile)},
				},
			},
		},
	}
}

// fromFile watches the folder, because files are replaced by a rename.
func fromFile(runDir, file string) object {
	return object{
		"resource_api_version": "V3",
		"path_config_source": object{
			"path":              filepath.Join(runDir, file),
			"watched_directory": object{"path": runDir},
		},
	}
}

// overloadManager bounds the connections that applications and peers can open;
// without a bound Envoy warns, and file descriptors are the bound.
func overloadManager() object {
	return object{"resource_monitors": []any{object{
		"name": "envoy.resource_monitors.global_downstream_max_connections",
		"typed_config": object{
			"@type":                             "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
			"max_active_downstream_connections": 50_000,
		},
	}}}
}

// labels are what a metric's name may carry, as `.=name=.=value;.;`.
var labels = [...]string{
	"source", "destination", "response_code", "rule", "reason",
	"source_namespace", "source_kind", "source_name", "destination_namespace", "destination_kind", "destination_name",
}

// statsConfig turns the labels inside the names of the filters' metrics into
// tags. The form is that of filters/traffic; it was measured to survive every
// value but those which that package escapes.
func statsConfig() object {
	tags := make([]any, 0, len(labels))
	for _, label := range labels {
		tags = append(tags, object{
			"tag_name": label,
			"regex":    `^wasmcustom\.(?:wasmesh|osm)_.*?(\.=` + label + `=\.=(.*?);\.;)`,
		})
	}
	return object{
		"stats_tags": tags,
		"histogram_bucket_settings": []any{object{
			"match":   object{"prefix": "wasmcustom.osm_"},
			"buckets": []any{1, 5, 10, 50, 100, 500, 1000, 5000},
		}},
	}
}
