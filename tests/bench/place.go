package main

import (
	"fmt"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	httpwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
)

// Who calls without a certificate is known by the address it calls from.
const (
	callerAddress   = "127.0.1.201"
	strangerAddress = "127.0.1.202"
)

// place fills the places of discovered filters: with what discovery would have
// answered, with a native filter, or with nothing.
func place(chain *listenerv3.FilterChain, v variant, discovered map[string]proto.Message) error {
	var kept []*listenerv3.Filter
	for _, f := range chain.Filters {
		switch {
		case f.GetTypedConfig().MessageIs(&hcmv3.HttpConnectionManager{}):
			if err := placeHTTP(f, v, discovered); err != nil {
				return err
			}
		case !v.decider.module():
			continue
		case f.GetConfigDiscovery() != nil && v.decider != bothForms:
			continue
		case f.GetConfigDiscovery() != nil:
			config, err := answer(discovered, f.Name)
			if err != nil {
				return err
			}
			f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: config}
		case v.wire == plaintext:
			if err := knowByAddress(f); err != nil {
				return err
			}
		}
		kept = append(kept, f)
	}
	chain.Filters = kept
	return nil
}

func placeHTTP(f *listenerv3.Filter, v variant, discovered map[string]proto.Message) error {
	manager := &hcmv3.HttpConnectionManager{}
	if err := f.GetTypedConfig().UnmarshalTo(manager); err != nil {
		return err
	}
	var kept []*hcmv3.HttpFilter
	for _, filter := range manager.HttpFilters {
		if filter.GetConfigDiscovery() == nil {
			kept = append(kept, filter)
			continue
		}
		if v.decider == nobody {
			continue
		}
		config, err := decide(v, discovered, filter.Name)
		if err != nil {
			return err
		}
		filter.ConfigType = &hcmv3.HttpFilter_TypedConfig{TypedConfig: config}
		kept = append(kept, filter)
	}
	manager.HttpFilters = kept
	if v.wire == plaintext {
		manager.CodecType = hcmv3.HttpConnectionManager_HTTP1
	}
	config, err := anypb.New(manager)
	f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: config}
	return err
}

// knowByAddress makes the facts of a connection without TLS: once per connection
// too, with the address in place of the name in the certificate.
func knowByAddress(f *listenerv3.Filter) error {
	facts := &setfilterstatev3.Config{}
	if err := f.GetTypedConfig().UnmarshalTo(facts); err != nil {
		return err
	}
	i := slices.IndexFunc(facts.OnDownstreamTlsHandshake, func(f *filterstatev3.FilterStateValue) bool {
		return f.GetObjectKey() == guest.ConnectionKey
	})
	if i < 0 {
		return fmt.Errorf("the inbound side does not keep %s", guest.ConnectionKey)
	}
	fact := facts.OnDownstreamTlsHandshake[i]
	name := mesh.SPIFFEID(trustDomain, mesh.Name{Namespace: namespace, Name: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"})
	const label, expires, port = "-", "4102444800", "80"
	text := name + "|" + label + "|" + expires + "|" + port
	fact.GetFormatString().GetTextFormatSource().Specifier = &corev3.DataSource_InlineString{InlineString: text}
	facts.OnNewConnection, facts.OnDownstreamTlsHandshake = []*filterstatev3.FilterStateValue{fact}, nil
	config, err := anypb.New(facts)
	f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: config}
	return err
}

// decide is the configuration of whatever decides.
func decide(v variant, discovered map[string]proto.Message, name string) (*anypb.Any, error) {
	switch v.decider {
	case policyList:
		return anypb.New(rbacList(v.wire, principals(v)))
	case policyEach:
		return anypb.New(rbacEach(v.wire, principals(v)))
	case matcherTree:
		return rbacTree(v.wire, principals(v))
	case accessOnly:
		return alone(discovered, name)
	}
	return answer(discovered, name)
}

// alone is what discovery would have answered, for the access stage alone.
func alone(discovered map[string]proto.Message, name string) (*anypb.Any, error) {
	answered, err := answer(discovered, name)
	if err != nil {
		return nil, err
	}
	filter, text := &httpwasmv3.Wasm{}, &wrapperspb.BytesValue{}
	if err := answered.UnmarshalTo(filter); err != nil {
		return nil, err
	}
	if err := filter.GetConfig().GetConfiguration().UnmarshalTo(text); err != nil {
		return nil, err
	}
	c, _, ok := config.Decode(text.Value)
	if !ok {
		return nil, fmt.Errorf("the configuration of filter %s cannot be read", name)
	}
	c.Form = config.AccessOnly
	if filter.Config.Configuration, err = anypb.New(wrapperspb.Bytes(c.Encode())); err != nil {
		return nil, err
	}
	return anypb.New(filter)
}

// answer is what discovery would have answered for a filter.
func answer(discovered map[string]proto.Message, name string) (*anypb.Any, error) {
	config, ok := discovered[name].(*corev3.TypedExtensionConfig)
	if !ok {
		return nil, fmt.Errorf("the control plane built no configuration for filter %s", name)
	}
	return config.TypedConfig, nil
}
