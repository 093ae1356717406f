package agent

import (
	"context"
	"os"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// token is one that the API server gave for a pod.
type token struct {
	text  string
	renew time.Time
}

// token gives the token of a projected volume, bound to the pod and asked for
// with the node's identity; a new one after four fifths of its life.
func (v *volumes) token(ctx context.Context, volume string, s *corev1.ServiceAccountTokenProjection) (string, error) {
	key := volume + "/" + s.Path
	if t, ok := v.tokens[key]; ok && time.Now().Before(t.renew) {
		return t.text, nil
	}
	object := v.pod.object
	account := object.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: s.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: object.Name, UID: object.UID},
	}}
	if s.Audience != "" {
		request.Spec.Audiences = []string{s.Audience}
	}
	asked := time.Now()
	answer, err := v.pod.agent.Client.CoreV1().ServiceAccounts(object.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	life := answer.Status.ExpirationTimestamp.Sub(asked)
	if v.tokens == nil {
		v.tokens = map[string]token{}
	}
	v.tokens[key] = token{text: answer.Status.Token, renew: asked.Add(life * 4 / 5)}
	return answer.Status.Token, nil
}

// mode is how files of a volume are written.
type mode struct {
	bits     os.FileMode
	uid, gid int
}

func (m mode) write(file string, text []byte) error {
	if err := os.WriteFile(file, text, m.bits); err != nil {
		return err
	}
	if err := os.Chmod(file, m.bits); err != nil {
		return err
	}
	return os.Chown(file, m.uid, m.gid)
}

// mode follows a kubelet: a volume with a token is for its owner alone where all
// containers share a user or the pod has a group, else as its default says.
func (v *volumes) mode(s corev1.VolumeSource) mode {
	m := mode{bits: 0o644}
	set := func(bits *int32) {
		if bits != nil {
			m.bits = os.FileMode(*bits)
		}
	}
	context := v.pod.object.Spec.SecurityContext
	switch {
	case s.ConfigMap != nil:
		set(s.ConfigMap.DefaultMode)
	case s.Secret != nil:
		set(s.Secret.DefaultMode)
	case s.DownwardAPI != nil:
		set(s.DownwardAPI.DefaultMode)
	case s.Projected != nil:
		set(s.Projected.DefaultMode)
		shared := v.sharedUser()
		for _, source := range s.Projected.Sources {
			if source.ServiceAccountToken != nil && (shared != nil || context != nil && context.FSGroup != nil) {
				m.bits = 0o600
			}
		}
		if shared != nil {
			m.uid = int(*shared)
		}
	}
	if context != nil && context.FSGroup != nil {
		m.bits, m.gid = m.bits|0o440, int(*context.FSGroup)
	}
	return m
}

// sharedUser is the user of all containers, where each names the same.
func (v *volumes) sharedUser() *int64 {
	var shared *int64
	spec := v.pod.object.Spec
	for n, c := range append(append([]corev1.Container{}, spec.InitContainers...), spec.Containers...) {
		var uid *int64
		if spec.SecurityContext != nil {
			uid = spec.SecurityContext.RunAsUser
		}
		if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
			uid = c.SecurityContext.RunAsUser
		}
		if uid == nil || n > 0 && *shared != *uid {
			return nil
		}
		shared = uid
	}
	return shared
}
