package policy

// Join reads headers as the sidecar does: of some well-known names it makes
// several lines one before any filter runs, so that policy and application see
// the joined value. Whoever asks the policy without a sidecar joins first. The
// names are in lower case; the input is not changed. tests/normalize holds it
// against the sidecar.
func Join(headers []Header) []Header {
	out := make([]Header, 0, len(headers))
	first := map[string]int{}
	for _, h := range headers {
		separator := separatorOf(h.Name)
		at, repeated := first[h.Name]
		if separator == "" || !repeated {
			first[h.Name] = len(out)
			out = append(out, h)
			continue
		}
		out[at].Value += separator + trim(h.Value)
	}
	return out
}

// separatorOf returns what stands between joined values; empty: lines of that
// name stay apart.
func separatorOf(name string) string {
	switch name {
	case "cookie":
		return "; " // RFC 9113, 8.2.3: sidecars speak HTTP/2 with each other
	case "accept", "accept-encoding", "access-control-request-headers", "access-control-request-method",
		"access-control-request-private-network", "authorization", "cache-control", "cdn-loop",
		"content-encoding", "content-type", "expect", "grpc-accept-encoding", "grpc-timeout", "if-match",
		"if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "origin", "pragma",
		"referer", "user-agent", "via", "x-client-trace-id", "x-forwarded-for", "x-forwarded-host",
		"x-forwarded-port", "x-request-id":
		return ","
	}
	return ""
}
