package wasmhost

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
)

// obj is a message in Envoy's JSON.
type obj = map[string]any

const (
	typePrefix = "type.googleapis.com/envoy.extensions."
	vmSetting  = "for the vm"
	// host is where Envoy listens, backendHost where it finds its upstreams.
	host, backendHost = "127.164.0.1", "127.164.0.2"
)

// door is one listener with one plugin, the same on both sides.
type door struct {
	name string
	// vm is the vm_id: doors that share it share a VM.
	vm     string
	config string
	tcp    bool
	policy string
	// backoff is the base interval in milliseconds for FAIL_RELOAD.
	backoff int
}

// root is the root id. Envoy puts it before the lines of a root context, and
// the plugin's name only before those of a stream.
func (d door) root() string { return "root-" + d.name }

// bootstrap is a static configuration with a listener for each door.
func bootstrap(doors []door, module, admin string, ports backendPorts) ([]byte, error) {
	var listeners []obj
	for _, d := range doors {
		chain := httpChain(d, module)
		if d.tcp {
			chain = tcpChain(d, module)
		}
		listeners = append(listeners, obj{
			"name": d.name, "address": socket(host, 0),
			"filter_chains": []obj{{"filters": chain}},
		})
	}
	return json.Marshal(obj{
		"node":                 obj{"id": "test", "cluster": "test"},
		"admin":                obj{"address": obj{"pipe": obj{"path": admin}}},
		"stats_flush_interval": "0.2s",
		"static_resources": obj{
			"listeners": listeners,
			"clusters": []obj{
				cluster("app", ports.app, true), cluster("auth", ports.auth, true),
				cluster("dead", ports.dead, true), cluster("bytes", ports.bytes, false),
			},
		},
	})
}

func socket(address string, port int) obj {
	return obj{"socket_address": obj{"address": address, "port_value": port}}
}

func cluster(name string, port int, http bool) obj {
	c := obj{
		"name": name, "type": "STATIC", "connect_timeout": "2s",
		"load_assignment": obj{"cluster_name": name, "endpoints": []obj{{"lb_endpoints": []obj{
			{"endpoint": obj{"address": socket(backendHost, port)}},
		}}}},
	}
	if http {
		c["typed_extension_protocol_options"] = obj{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": obj{
			"@type":                typePrefix + "upstreams.http.v3.HttpProtocolOptions",
			"explicit_http_config": obj{"http_protocol_options": obj{"enable_trailers": true}},
		}}
	}
	return c
}

func text(s string) obj {
	return obj{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": s}
}

// plugin is the configuration of both the HTTP and the network filter.
func plugin(d door, module, kind string) obj {
	config := obj{
		"name": d.name, "root_id": d.root(), "configuration": text(d.config),
		"vm_config": obj{
			"vm_id": d.vm, "runtime": "envoy.wasm.runtime.v8",
			"code":                  obj{"local": obj{"filename": module}},
			"configuration":         text(vmSetting),
			"environment_variables": obj{"key_values": obj{"K": "V"}},
		},
	}
	if d.policy != "" {
		config["failure_policy"] = d.policy
	}
	if d.backoff != 0 {
		seconds := strconv.FormatFloat(float64(d.backoff)/1000, 'f', 3, 64) + "s"
		config["reload_config"] = obj{"backoff": obj{"base_interval": seconds}}
	}
	return obj{"name": "wasm", "typed_config": obj{
		"@type": typePrefix + "filters." + kind + ".wasm.v3.Wasm", "config": config,
	}}
}

func httpChain(d door, module string) []obj {
	router := obj{"name": "router", "typed_config": obj{
		"@type": typePrefix + "filters.http.router.v3.Router", "suppress_envoy_headers": true,
	}}
	return []obj{{"name": "hcm", "typed_config": obj{
		"@type":       typePrefix + "filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": d.name, "generate_request_id": false,
		"server_header_transformation": "PASS_THROUGH",
		"http_protocol_options":        obj{"enable_trailers": true},
		"http_filters":                 []obj{plugin(d, module, "http"), router},
		"route_config": obj{"virtual_hosts": []obj{{"name": "all", "domains": []string{"*"}, "routes": []obj{
			{"match": obj{"prefix": "/"}, "route": obj{"cluster": "app"}},
		}}}},
	}}}
}

func tcpChain(d door, module string) []obj {
	return []obj{plugin(d, module, "network"), {"name": "tcp", "typed_config": obj{
		"@type":       typePrefix + "filters.network.tcp_proxy.v3.TcpProxy",
		"stat_prefix": d.name, "cluster": "bytes",
	}}}
}

// backendPorts are where the upstreams listen; nobody does at dead.
type backendPorts struct{ app, auth, dead, bytes int }

func listen() (net.Listener, int, error) {
	l, err := net.Listen("tcp", backendHost+":0")
	if err != nil {
		return nil, 0, fmt.Errorf("listen for an upstream: %w", err)
	}
	return l, l.Addr().(*net.TCPAddr).Port, nil
}
