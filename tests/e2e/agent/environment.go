package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/network"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// environment gives a container's variables, as a map and in their order.
func (i *instance) environment() (map[string]string, []string, error) {
	ctx, cancel := context.WithTimeout(i.pod.agent.ctx, 5*time.Second)
	defer cancel()
	values := map[string]string{
		"PATH": "/usr/local/bin:/usr/bin:/bin", "HOSTNAME": i.pod.object.Name,
		"KUBERNETES_SERVICE_HOST": network.APIServerIP.String(), "KUBERNETES_SERVICE_PORT": "443",
		"KUBERNETES_SERVICE_PORT_HTTPS": "443",
	}
	order := []string{"PATH", "HOSTNAME", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS"}
	set := func(name, value string) {
		if _, ok := values[name]; !ok {
			order = append(order, name)
		}
		values[name] = value
	}
	for _, from := range i.spec.EnvFrom {
		var data map[string][]byte
		var err error
		switch {
		case from.ConfigMapRef != nil:
			data, err = i.pod.configMap(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
		case from.SecretRef != nil:
			data, err = i.pod.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
		}
		if err != nil {
			return nil, nil, err
		}
		for key, value := range data {
			set(from.Prefix+key, string(value))
		}
	}
	for _, e := range i.spec.Env {
		value := expand(e.Value, values)
		if e.ValueFrom != nil {
			var err error
			if value, err = i.pod.source(ctx, e.ValueFrom, i.spec); err != nil {
				return nil, nil, fmt.Errorf("variable %s: %w", e.Name, err)
			}
		}
		set(e.Name, value)
	}
	env := make([]string, 0, len(order))
	for _, name := range order {
		env = append(env, name+"="+values[name])
	}
	return values, env, nil
}

func (p *pod) source(ctx context.Context, s *corev1.EnvVarSource, c corev1.Container) (string, error) {
	switch {
	case s.FieldRef != nil:
		return p.field(s.FieldRef.FieldPath)
	case s.ResourceFieldRef != nil:
		return resources(s.ResourceFieldRef, c), nil
	case s.ConfigMapKeyRef != nil:
		data, err := p.configMap(ctx, s.ConfigMapKeyRef.Name, s.ConfigMapKeyRef.Optional)
		return string(data[s.ConfigMapKeyRef.Key]), err
	case s.SecretKeyRef != nil:
		data, err := p.secret(ctx, s.SecretKeyRef.Name, s.SecretKeyRef.Optional)
		return string(data[s.SecretKeyRef.Key]), err
	}
	return "", fmt.Errorf("source that the rig does not know")
}

// field gives what the downward API says of a pod.
func (p *pod) field(path string) (string, error) {
	o := p.object
	if key, ok := strings.CutPrefix(path, "metadata.labels['"); ok {
		return o.Labels[strings.TrimSuffix(key, "']")], nil
	}
	if key, ok := strings.CutPrefix(path, "metadata.annotations['"); ok {
		return o.Annotations[strings.TrimSuffix(key, "']")], nil
	}
	ips := p.network().IPs
	switch path {
	case "metadata.name":
		return o.Name, nil
	case "metadata.namespace":
		return o.Namespace, nil
	case "metadata.uid":
		return string(o.UID), nil
	case "metadata.labels":
		return pairs(o.Labels), nil
	case "metadata.annotations":
		return pairs(o.Annotations), nil
	case "spec.nodeName":
		return o.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return o.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return network.NodeIP.String(), nil
	case "status.podIP":
		return ips[0].String(), nil
	case "status.podIPs":
		return ips[0].String() + "," + ips[1].String(), nil
	}
	return "", fmt.Errorf("field %q that the rig does not know", path)
}

func pairs(m map[string]string) string {
	var lines []string
	for key, value := range m {
		lines = append(lines, fmt.Sprintf("%s=%q", key, value))
	}
	return strings.Join(lines, "\n")
}

func resources(r *corev1.ResourceFieldSelector, c corev1.Container) string {
	list := c.Resources.Limits
	if strings.HasPrefix(r.Resource, "requests.") {
		list = c.Resources.Requests
	}
	_, name, _ := strings.Cut(r.Resource, ".")
	quantity := list[corev1.ResourceName(name)]
	return fmt.Sprint(quantity.Value())
}

// expand replaces $(NAME) by the variable's value; $$ is a dollar sign.
func expand(text string, values map[string]string) string {
	var out strings.Builder
	for {
		at := strings.IndexByte(text, '$')
		if at < 0 || at == len(text)-1 {
			return out.String() + text
		}
		out.WriteString(text[:at])
		text = text[at:]
		end := strings.IndexByte(text, ')')
		switch {
		case text[1] == '$':
			out.WriteByte('$')
			text = text[2:]
		case text[1] == '(' && end > 0:
			if value, ok := values[text[2:end]]; ok {
				out.WriteString(value)
			} else {
				out.WriteString(text[:end+1])
			}
			text = text[end+1:]
		default:
			out.WriteByte('$')
			text = text[1:]
		}
	}
}

func (p *pod) configMap(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	m, err := p.agent.Client.CoreV1().ConfigMaps(p.object.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, unless(optional, err)
	}
	data := map[string][]byte{}
	for key, value := range m.Data {
		data[key] = []byte(value)
	}
	for key, value := range m.BinaryData {
		data[key] = value
	}
	return data, nil
}

func (p *pod) secret(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	s, err := p.agent.Client.CoreV1().Secrets(p.object.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, unless(optional, err)
	}
	return s.Data, nil
}

func unless(optional *bool, err error) error {
	if optional != nil && *optional && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
