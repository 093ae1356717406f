package xds

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	statsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"

	"github.com/wasmesh/wasmesh/filters/traffic"
)

// The directions in traffic.LocalReplies.
const (
	inboundDirection  = "inbound"
	outboundDirection = "outbound"
)

// nobodyThere selects what answered says where nobody is behind a port: that is no
// failure to Envoy, which was told to answer so.
const nobodyThere = `response.code == 503 && response.code_details == "direct_response"`

// countLocalReplies counts what the sidecar could not forward, and so answered
// itself, or whose answer never came.
func countLocalReplies(direction, destination string) *accesslogv3.AccessLog {
	log := localReply(direction, destination, "%RESPONSE_FLAGS%")
	log.Filter = &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
		// What the other side ended itself (DC, DR) is not among them.
		ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: []string{
			"UH", "UF", "UC", "UR", "UT", "UO", "UPE", "LR", "NR", "NC", "NFCF", "SI", "DT", "IH", "DPE", "UMSDR", "OM",
		}},
	}}
	return log
}

// countNobodyThere counts a caller's requests to a port behind which nobody is as
// Envoy would have flagged them.
func countNobodyThere(destination string) *accesslogv3.AccessLog {
	log := localReply(outboundDirection, destination, "UH")
	log.Filter = &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name:       "envoy.access_loggers.extension_filters.cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: pack(&celv3.ExpressionFilter{Expression: nobodyThere})},
		},
	}}
	return log
}

func localReply(direction, destination, flags string) *accesslogv3.AccessLog {
	return statsLog(traffic.LocalReplies,
		&statsv3.Config_Tag{Name: "direction", ValueFormat: direction},
		&statsv3.Config_Tag{Name: "destination", ValueFormat: destination},
		&statsv3.Config_Tag{Name: "flags", ValueFormat: flags})
}
