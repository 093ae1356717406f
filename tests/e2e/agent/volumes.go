package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/network"
	corev1 "k8s.io/api/core/v1"
)

// refreshInterval is how often volumes are looked at again; a kubelet takes up to
// a minute.
const refreshInterval = 2 * time.Second

// volumes are what a pod mounts.
type volumes struct {
	pod    *pod
	folder string
	tokens map[string]token // by volume and path
}

func (v *volumes) path(name string) string { return filepath.Join(v.folder, "volume", name) }
func (v *volumes) resolv() string          { return filepath.Join(v.folder, "resolv.conf") }
func (v *volumes) hosts() string           { return filepath.Join(v.folder, "hosts") }

func (v *volumes) missing(name string) bool {
	_, err := os.Stat(v.path(name))
	return err != nil
}

// fill makes everything the pod mounts; what it refers to must be there.
func (v *volumes) fill(ctx context.Context) error {
	if err := os.MkdirAll(v.folder, 0o755); err != nil {
		return err
	}
	object := v.pod.object
	search := fmt.Sprintf("%s.svc.%s svc.%s %s", object.Namespace, network.Domain, network.Domain, network.Domain)
	if err := os.WriteFile(v.resolv(), fmt.Appendf(nil, "search %s\nnameserver %v\noptions ndots:5\n", search, network.NodeIP), 0o644); err != nil {
		return err
	}
	hosts := fmt.Sprintf("127.0.0.1 localhost\n::1 localhost\n%v %s\n", v.pod.network().IPs[0], object.Name)
	if err := os.WriteFile(v.hosts(), []byte(hosts), 0o644); err != nil {
		return err
	}
	return v.each(ctx, true)
}

// refresh keeps tokens, ConfigMaps and Secrets fresh until the pod ends.
func (v *volumes) refresh(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(refreshInterval):
		}
		if err := v.each(ctx, false); err != nil && ctx.Err() == nil {
			v.pod.agent.Log.Debug("volumes not refreshed", "pod", v.pod.String(), "error", err)
		}
	}
}

func (v *volumes) each(ctx context.Context, all bool) error {
	for _, volume := range v.pod.object.Spec.Volumes {
		source, folder := volume.VolumeSource, v.path(volume.Name)
		var files map[string][]byte
		var err error
		switch {
		case source.EmptyDir != nil && !all:
			continue
		case source.EmptyDir != nil:
			err = v.empty(folder)
		case source.Projected != nil:
			files, err = v.projected(ctx, volume.Name, source.Projected)
		case source.ConfigMap != nil:
			files, err = v.pod.configMap(ctx, source.ConfigMap.Name, source.ConfigMap.Optional)
			files = chosen(files, source.ConfigMap.Items)
		case source.Secret != nil:
			files, err = v.pod.secret(ctx, source.Secret.SecretName, source.Secret.Optional)
			files = chosen(files, source.Secret.Items)
		case source.DownwardAPI != nil:
			files, err = v.downward(source.DownwardAPI.Items)
		default:
			err = fmt.Errorf("a kind that the rig does not know")
		}
		if err == nil && source.EmptyDir == nil {
			err = write(folder, files, v.mode(source))
		}
		if err != nil {
			return fmt.Errorf("volume %s: %w", volume.Name, err)
		}
	}
	return nil
}

// empty makes a folder that everybody in the pod may write, as a kubelet does.
func (v *volumes) empty(folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	if s := v.pod.object.Spec.SecurityContext; s != nil && s.FSGroup != nil {
		if err := os.Chown(folder, 0, int(*s.FSGroup)); err != nil {
			return err
		}
		return os.Chmod(folder, 0o777|os.ModeSetgid)
	}
	return os.Chmod(folder, 0o777)
}

func (v *volumes) projected(ctx context.Context, name string, p *corev1.ProjectedVolumeSource) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, s := range p.Sources {
		var more map[string][]byte
		var err error
		switch {
		case s.ServiceAccountToken != nil:
			var text string
			text, err = v.token(ctx, name, s.ServiceAccountToken)
			more = map[string][]byte{s.ServiceAccountToken.Path: []byte(text)}
		case s.ConfigMap != nil:
			more, err = v.pod.configMap(ctx, s.ConfigMap.Name, s.ConfigMap.Optional)
			more = chosen(more, s.ConfigMap.Items)
		case s.Secret != nil:
			more, err = v.pod.secret(ctx, s.Secret.Name, s.Secret.Optional)
			more = chosen(more, s.Secret.Items)
		case s.DownwardAPI != nil:
			more, err = v.downward(s.DownwardAPI.Items)
		}
		if err != nil {
			return nil, err
		}
		for path, text := range more {
			files[path] = text
		}
	}
	return files, nil
}

func (v *volumes) downward(items []corev1.DownwardAPIVolumeFile) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, item := range items {
		if item.FieldRef == nil {
			continue
		}
		text, err := v.pod.field(item.FieldRef.FieldPath)
		if err != nil {
			return nil, err
		}
		files[item.Path] = []byte(text)
	}
	return files, nil
}

// chosen gives the keys that are asked for, under their paths; all without items.
func chosen(data map[string][]byte, items []corev1.KeyToPath) map[string][]byte {
	if len(items) == 0 {
		return data
	}
	files := map[string][]byte{}
	for _, item := range items {
		if text, ok := data[item.Key]; ok {
			files[item.Path] = text
		}
	}
	return files
}

// write replaces all files of a volume in one step, by a link to a new folder.
func write(folder string, files map[string][]byte, m mode) error {
	current := filepath.Join(folder, "..data")
	if same(current, files) {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(folder, "..")
	if err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	for path, text := range files {
		file := filepath.Join(fresh, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := m.write(file, text); err != nil {
			return err
		}
		top, _, _ := strings.Cut(path, "/")
		if _, err := os.Lstat(filepath.Join(folder, top)); err != nil {
			if err := os.Symlink(filepath.Join("..data", top), filepath.Join(folder, top)); err != nil {
				return err
			}
		}
	}
	old, _ := os.Readlink(current) // none the first time
	link := filepath.Join(folder, "..next")
	if err := os.Symlink(filepath.Base(fresh), link); err != nil {
		return err
	}
	if err := os.Rename(link, current); err != nil {
		return err
	}
	if old != "" {
		return os.RemoveAll(filepath.Join(folder, old))
	}
	return nil
}

func same(current string, files map[string][]byte) bool {
	if _, err := os.Stat(current); err != nil {
		return false
	}
	for path, text := range files {
		have, err := os.ReadFile(filepath.Join(current, path))
		if err != nil || string(have) != string(text) {
			return false
		}
	}
	return true
}
