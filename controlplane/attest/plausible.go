package attest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxToken bounds what is decoded, in bytes; a token has about 1 KiB.
const maxToken = 8 << 10

// audiences is the claim "aud", which may be one text or a list of them.
type audiences []string

func (a *audiences) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		*a = make(audiences, 1)
		return json.Unmarshal(data, &(*a)[0])
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// plausible looks at what a token says of itself. That is worth nothing as a
// proof, and enough to turn away what the API server would refuse in any case: a
// stranger who has no token of ours cannot make it work. The token is used as long
// as it ends after the time. Errors never contain the text.
func plausible(token string, after time.Time) error {
	if len(token) > maxToken {
		return fmt.Errorf("the token has more than %d bytes", maxToken)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("this is no service account token: it must have three parts")
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return errors.New("this is no service account token: its claims are not base64url")
	}
	var claims struct {
		Audiences audiences `json:"aud"`
		Expires   float64   `json:"exp"` // seconds since 1970
		Cluster   struct {
			Pod struct {
				UID string `json:"uid"`
			} `json:"pod"`
		} `json:"kubernetes.io"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return errors.New("this is no service account token: its claims cannot be read")
	}
	switch {
	case !slices.Contains(claims.Audiences, Audience):
		return fmt.Errorf("the token is for the audiences %.300q and not for %q; the pod's projected volume must name it", []string(claims.Audiences), Audience)
	case claims.Expires < float64(after.Unix()):
		return errors.New("the token has expired; is the kubelet refreshing it?")
	case claims.Cluster.Pod.UID == "":
		return errors.New("the token is not bound to a pod; it must come from a projected volume")
	}
	return nil
}
