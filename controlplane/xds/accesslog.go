package xds

import (
	"math"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	celfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	celformatv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/cel/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// accessLogKey is where the runtime has the share of what is logged. A share inside
// of the listeners would replace them, and end what is open, with every change.
const accessLogKey = "wasmesh.access_log"

// fields are those of a line, each with a format of Envoy's, or a literal.
type fields map[string]string

// with adds those of others.
func (f fields) with(others ...fields) fields {
	for _, other := range others {
		for name, format := range other {
			f[name] = format
		}
	}
	return f
}

// line is what is logged of one kind of stream.
type line struct {
	fields fields
	// ends is the moment at which it is written: Envoy's loggers are also called
	// while a stream is open.
	ends accesslogdatav3.AccessLogType
	// only selects what is logged at all; empty: everything.
	only string
	// always selects what is logged whatever the share; empty: nothing.
	always string
}

// accessLogs are the loggers that write the line: none where nothing is logged.
func (b *builder) accessLogs(l line) []*accesslogv3.AccessLog {
	if b.settings.AccessLog <= 0 {
		return nil
	}
	filter := inShare()
	if l.always != "" {
		filter = either(filter, where(l.always))
	}
	parts := []*accesslogv3.AccessLogFilter{at(l.ends), filter}
	if l.only != "" {
		parts = append(parts, where(l.only))
	}
	return []*accesslogv3.AccessLog{stdout(l.fields, both(parts...))}
}

// accessLogsOfRefused writes the line whatever the share.
func (b *builder) accessLogsOfRefused(of fields, filter *accesslogv3.AccessLogFilter) []*accesslogv3.AccessLog {
	if b.settings.AccessLog <= 0 {
		return nil
	}
	return []*accesslogv3.AccessLog{stdout(of, filter)}
}

// accessLogShare is the runtime's value: how many of a million. Measured: of this
// filter's, the runtime has the numerator only.
func accessLogShare(percent float64) *structpb.Value {
	const million = 1_000_000
	return structpb.NewNumberValue(math.Round(percent / 100 * million))
}

// stdout writes lines of JSON; what is no UTF-8 is replaced.
func stdout(of fields, filter *accesslogv3.AccessLogFilter) *accesslogv3.AccessLog {
	values := make(map[string]*structpb.Value, len(of))
	for name, format := range of {
		values[name] = structpb.NewStringValue(format)
	}
	return &accesslogv3.AccessLog{
		Name:   "envoy.access_loggers.stdout",
		Filter: filter,
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: values}},
				Formatters: []*corev3.TypedExtensionConfig{{
					Name: "envoy.formatter.cel", TypedConfig: pack(&celformatv3.Cel{CelConfig: expressions()}),
				}},
			}},
		})},
	}
}

// expressions may do what identity.ExpressionsOf and the verdict need. What they
// work on is bounded: names in certificates of the mesh, and of rules.
func expressions() *corev3.CelExpressionConfig {
	return &corev3.CelExpressionConfig{EnableStringConversion: true, EnableStringConcat: true, EnableStringFunctions: true}
}

// inShare draws lots for each stream. Envoy would rather derive it from the id of
// the request, which the caller chooses.
func inShare() *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_RuntimeFilter{
		RuntimeFilter: &accesslogv3.RuntimeFilter{
			RuntimeKey: accessLogKey, UseIndependentRandomness: true,
			PercentSampled: &typev3.FractionalPercent{Denominator: typev3.FractionalPercent_MILLION},
		},
	}}
}

func at(moment accesslogdatav3.AccessLogType) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_LogTypeFilter{
		LogTypeFilter: &accesslogv3.LogTypeFilter{Types: []accesslogdatav3.AccessLogType{moment}},
	}}
}

func where(expression string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name: "envoy.access_loggers.extension_filters.cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: pack(&celfilterv3.ExpressionFilter{
				Expression: expression, CelConfig: expressions(),
			})},
		},
	}}
}

func both(filters ...*accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
		AndFilter: &accesslogv3.AndFilter{Filters: filters},
	}}
}

func either(filters ...*accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_OrFilter{
		OrFilter: &accesslogv3.OrFilter{Filters: filters},
	}}
}

func cel(expression string) string { return "%CEL(" + expression + ")%" }
