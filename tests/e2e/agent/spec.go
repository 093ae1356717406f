package agent

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/wasmesh/wasmesh/tests/e2e/container"
	"github.com/wasmesh/wasmesh/tests/e2e/network"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

var nodeIPs = []corev1.HostIP{{IP: network.NodeIP.String()}, {IP: network.NodeIPv6.String()}}

// granted are the capabilities that container runtimes give without being asked.
var granted = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
	"NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

var capabilities = map[string]uintptr{
	"AUDIT_WRITE": unix.CAP_AUDIT_WRITE, "CHOWN": unix.CAP_CHOWN, "DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE,
	"FOWNER": unix.CAP_FOWNER, "FSETID": unix.CAP_FSETID, "KILL": unix.CAP_KILL, "MKNOD": unix.CAP_MKNOD,
	"NET_ADMIN": unix.CAP_NET_ADMIN, "NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE, "NET_RAW": unix.CAP_NET_RAW,
	"SETFCAP": unix.CAP_SETFCAP, "SETGID": unix.CAP_SETGID, "SETPCAP": unix.CAP_SETPCAP, "SETUID": unix.CAP_SETUID,
	"SYS_ADMIN": unix.CAP_SYS_ADMIN, "SYS_CHROOT": unix.CAP_SYS_CHROOT, "SYS_PTRACE": unix.CAP_SYS_PTRACE,
}

// links are in every image; those of /dev are a runtime's.
var links = map[string]string{
	"/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2", "/dev/fd": "/proc/self/fd",
}

// container says how the container is to be run.
func (i *instance) container() (container.Spec, error) {
	object := i.pod.object
	image, err := i.pod.agent.Images.find(i.spec.Image)
	if err != nil {
		return container.Spec{}, err
	}
	spec := container.Spec{Root: i.root(), Hostname: object.Name, Dir: i.spec.WorkingDir, Links: map[string]string{}}
	for from, to := range links {
		spec.Links[from] = to
	}
	for target, source := range image.Files {
		spec.Mounts = append(spec.Mounts, container.Mount{Source: source, Target: target, ReadOnly: true})
	}
	if image.Libraries {
		spec.Mounts = append(spec.Mounts, container.Mount{Source: "/usr/lib", Target: "/usr/lib", ReadOnly: true})
		spec.Links["/lib"], spec.Links["/lib64"] = "usr/lib", "usr/lib64"
		spec.Mounts = append(spec.Mounts, container.Mount{Source: "/usr/lib64", Target: "/usr/lib64", ReadOnly: true})
	}
	values, env, err := i.environment()
	if err != nil {
		return spec, err
	}
	spec.Env = env
	command := i.spec.Command
	if len(command) == 0 {
		command = image.Entrypoint
	}
	for _, word := range append(append([]string{}, command...), i.spec.Args...) {
		spec.Argv = append(spec.Argv, expand(word, values))
	}
	if len(spec.Argv) == 0 {
		return spec, errors.New("no command specified")
	}
	if err := i.user(&spec, image); err != nil {
		return spec, err
	}
	mounts, err := i.mounts()
	spec.Mounts = append(spec.Mounts, mounts...)
	return spec, err
}

// mounts are the volumes of the container and the files every container has.
func (i *instance) mounts() ([]container.Mount, error) {
	v := i.pod.volumes
	mounts := []container.Mount{{Source: v.resolv(), Target: "/etc/resolv.conf"}, {Source: v.hosts(), Target: "/etc/hosts"}}
	for _, m := range i.spec.VolumeMounts {
		if v.missing(m.Name) {
			return nil, fmt.Errorf("the pod has no volume %q", m.Name)
		}
		mounts = append(mounts, container.Mount{Source: path.Join(v.path(m.Name), m.SubPath), Target: m.MountPath, ReadOnly: m.ReadOnly})
	}
	return mounts, nil
}

// user fills in whom the container runs as and what it may do.
func (i *instance) user(spec *container.Spec, image Image) error {
	c, p := i.spec.SecurityContext, i.pod.object.Spec.SecurityContext
	if c == nil {
		c = &corev1.SecurityContext{}
	}
	if p == nil {
		p = &corev1.PodSecurityContext{}
	}
	uid := first(c.RunAsUser, p.RunAsUser, &image.User)
	none := int64(0)
	spec.UID, spec.GID = uint32(*uid), uint32(*first(c.RunAsGroup, p.RunAsGroup, &none))
	if *uid == 0 && *first(c.RunAsNonRoot, p.RunAsNonRoot, new(bool)) {
		return errors.New("container has runAsNonRoot and image will run as root")
	}
	for _, g := range p.SupplementalGroups {
		spec.Groups = append(spec.Groups, uint32(g))
	}
	if p.FSGroup != nil {
		spec.Groups = append(spec.Groups, uint32(*p.FSGroup))
	}
	spec.ReadOnlyRoot = *first(c.ReadOnlyRootFilesystem, new(bool))
	yes := true
	spec.NoNewPrivileges = !*first(c.AllowPrivilegeEscalation, &yes)
	names := map[string]bool{}
	for _, name := range granted {
		names[name] = true
	}
	if c.Capabilities != nil {
		for _, d := range c.Capabilities.Drop {
			delete(names, string(d))
			if d == "ALL" {
				names = map[string]bool{}
			}
		}
		for _, a := range c.Capabilities.Add {
			names[strings.TrimPrefix(string(a), "CAP_")] = true
		}
	}
	for name := range names {
		number, ok := capabilities[name]
		if !ok {
			return fmt.Errorf("unknown capability %q", name)
		}
		spec.Capabilities = append(spec.Capabilities, number)
	}
	return nil
}

// first gives the first that is there.
func first[T any](of ...*T) *T {
	for _, v := range of {
		if v != nil {
			return v
		}
	}
	return nil
}
