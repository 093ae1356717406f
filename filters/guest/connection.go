package guest

import "strings"

// Connection is what is known of the connection a stream came on. The sidecar
// makes it once per connection, at the end of the TLS handshake.
type Connection struct {
	// Peer is the SPIFFE ID of the peer's certificate; empty if there is not
	// exactly one.
	Peer string
	// Label is the peer's DNS name in its certificate; see package identity.
	Label string
	// Expires is the end of the peer's certificate, in seconds since 1970.
	Expires int64
	// Port is the container port the connection is for.
	Port uint16
}

// ConnectionFormat is the access-log format of the filter state that
// ParseConnection reads; the container port, a literal, follows it.
const ConnectionFormat = "%DOWNSTREAM_PEER_URI_SAN%|%DOWNSTREAM_PEER_DNS_SAN%|%DOWNSTREAM_PEER_CERT_V_END(%s)%|"

// ConnectionKey is the filter-state key under which the sidecar keeps it.
const ConnectionKey = "wasmesh.peer"

// SubjectKey is that of the subject of the peer's certificate, which SubjectFormat
// makes. It is read once for each peer, not for each stream.
const (
	SubjectKey    = "wasmesh.subject"
	SubjectFormat = "%DOWNSTREAM_PEER_SUBJECT%"
)

// ParseConnection reads the filter state. A part that is missing or odd stays
// zero: no peer, no port and an expiry in 1970 all deny.
func ParseConnection(s string) Connection {
	uri, rest, _ := strings.Cut(s, "|")
	dns, rest, _ := strings.Cut(rest, "|")
	end, port, _ := strings.Cut(rest, "|")
	if strings.IndexByte(port, '|') >= 0 {
		// A name in the certificate holds a bar, so nothing says which part is what.
		return Connection{}
	}
	c := Connection{Expires: int64(number(end, 1<<62)), Port: uint16(number(port, 1<<16-1))}
	if single(uri) {
		c.Peer = uri
	}
	if single(dns) {
		c.Label = dns
	}
	return c
}

// single reports whether a SAN list names exactly one; "-" is none.
func single(list string) bool {
	return list != "" && list != "-" && strings.IndexByte(list, ',') < 0
}

// number reads decimal digits; anything else, or more than limit, is 0.
func number(s string, limit uint64) uint64 {
	var n uint64
	for i := 0; i < len(s); i++ {
		d := uint64(s[i] - '0')
		if d > 9 || n > (limit-d)/10 {
			return 0
		}
		n = n*10 + d
	}
	return n
}
