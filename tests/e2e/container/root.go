package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// searched is where a program is looked for that is named without a path.
var searched = []string{"/usr/local/bin", "/usr/bin", "/bin"}

// mount makes the container's file system at its root.
func (s Spec) mount() error {
	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("container", s.Root, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	for name, mode := range map[string]os.FileMode{"proc": 0o555, "dev": 0o755, "tmp": 0o777 | os.ModeSticky, "etc": 0o755, "run": 0o755} {
		path := filepath.Join(s.Root, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", filepath.Join(s.Root, "proc"), "proc", 0, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	if err := bind(s.Root, Mount{Source: filepath.Join(s.Root, "proc/sys"), Target: "/proc/sys", ReadOnly: true}); err != nil {
		return err
	}
	for path, to := range s.Links {
		path = filepath.Join(s.Root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(to, path); err != nil {
			return err
		}
	}
	for _, device := range []string{"null", "zero", "full", "random", "urandom"} {
		if err := bind(s.Root, Mount{Source: "/dev/" + device, Target: "/dev/" + device}); err != nil {
			return err
		}
	}
	for _, m := range s.Mounts {
		if err := bind(s.Root, m); err != nil {
			return err
		}
	}
	if s.ReadOnlyRoot {
		return unix.Mount("", s.Root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	}
	return nil
}

func bind(root string, m Mount) error {
	target := filepath.Join(root, m.Target)
	info, err := os.Stat(m.Source)
	if err != nil {
		return fmt.Errorf("mount %s: %w", m.Target, err)
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		var f *os.File
		if f, err = os.OpenFile(target, os.O_CREATE, 0o644); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", m.Target, err)
	}
	if err := unix.Mount(m.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", m.Target, err)
	}
	if m.ReadOnly {
		if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("mount %s read-only: %w", m.Target, err)
		}
	}
	return nil
}

// find gives the path, inside the container, of a program.
func (s Spec) find(program string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	for _, folder := range searched {
		path := filepath.Join(folder, program)
		if _, err := os.Stat(filepath.Join(s.Root, path)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %q in the image", program)
}
