package badinput

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	registry "github.com/wasmesh/wasmesh/wasm-registry/store"
)

// Whoever runs a test as root can write everywhere but below a file.
func belowAFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(file, "folder")
}

func controlPlaneArguments(t *testing.T, state string, more ...string) []string {
	t.Helper()
	manifests, err := filepath.Abs(filepath.Join("testdata", "mesh"))
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{
		"controlplane", "--source", manifests, "--state", state, "--module", programs.Module,
		"--xds", "127.0.0.1:0", "--join", "127.0.0.1:0", "--registry", "127.0.0.1:0",
	}, more...)
}

func TestControlPlaneNamesTheFolderItCannotWriteTo(t *testing.T) {
	bad := belowAFile(t)
	command(t, "", programs.Wasmesh, controlPlaneArguments(t, bad)...).says(t, 2, bad, "choose a folder that you can write to")

	state := filepath.Join(t.TempDir(), "state")
	command(t, "", programs.Wasmesh, controlPlaneArguments(t, state, "--modules", bad)...).says(t, 2, bad, "choose a folder you can write to")
	command(t, "", programs.Wasmesh, controlPlaneArguments(t, state, "--status", filepath.Join(bad, "s"))...).says(t, 2, bad, "choose another with --status")

	gone := filepath.Join(t.TempDir(), "gone")
	command(t, "", programs.Wasmesh, controlPlaneArguments(t, state, "--source", gone)...).says(t, 2, gone)
}

func TestControlPlaneLeavesNothingOnAFullDisk(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	onFullDisk(t, programs.Wasmesh, controlPlaneArguments(t, state)...).says(t, 2, filepath.Join(state, "root.pem"), "check the free space")
	onlyFolders(t, state)
	// The same folder serves once there is room.
	if _, err := ca.Open(state, ca.Options{TrustDomain: trustDomain}); err != nil {
		t.Fatal(err)
	}
	onFullDisk(t, programs.Wasmesh, "token", "create", "--state", state, "--workload", "shop/buyer").
		says(t, 2, "join token for shop/buyer", filepath.Join(state, "tokens"), "check the free space")
	onlyFolders(t, state, "/root.pem")
	command(t, "", programs.Wasmesh, "token", "create", "--state", belowAFile(t), "--workload", "shop/buyer").says(t, 2, "choose a folder that you can write to")
}

// A sidecar that cannot keep its renewal credential does not spend its token.
func TestSidecarNamesTheFolderItCannotWriteTo(t *testing.T) {
	s, authority := openOffice(t)
	token, err := authority.CreateToken(buyer, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, state, run := filepath.Join(dir, "token"), filepath.Join(dir, "state"), filepath.Join(dir, "run")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := belowAFile(t)
	command(t, "", programs.Sidecar, s.sidecarArguments(file, bad, run)...).says(t, 1, "state folder", bad, "choose a folder that you can write to")
	command(t, "", programs.Sidecar, s.sidecarArguments(file, state, bad)...).says(t, 1, "run folder", bad, "choose a folder that you can write to")
	onFullDisk(t, programs.Sidecar, s.sidecarArguments(file, state, run)...).says(t, 1, "state folder", state, "check the free space")
	onlyFolders(t, state, "/lock")
	if status, body := s.post(t, token, request(t)); status != 200 {
		t.Errorf("the token was spent for nothing: %d %s", status, body)
	}
}

// A store that cannot be written to holds up a new module, and nothing else.
func TestModuleStoreThatIsUnwritableOrFull(t *testing.T) {
	for name, obstruct := range map[string]func(*shop) (undo func()){"unwritable": replaceStore, "full": fillDisk} {
		t.Run(name, func(t *testing.T) {
			s := openShop(t, nil)
			good, other := registry.Digest(goodModule(t)), otherModule(t)
			l := s.startLoad()
			ready := filepath.Join(filepath.Dir(s.module), ".ready")
			if err := os.WriteFile(ready, other, 0o600); err != nil {
				t.Fatal(err)
			}
			undo := obstruct(s)
			s.move(ready, s.module)
			s.problem(moduleTimeout, "Module wasmesh/filter", s.ModulesFolder(), "the module before it keeps serving", "Make room")
			s.serves(good)
			undo()
			onlyFolders(t, s.ModulesFolder(), good+".wasm")
			s.taken(registry.Digest(other)) // without being asked to
			s.noProblems(applyTimeout)
			onlyFolders(t, s.ModulesFolder(), registry.Digest(other)+".wasm")
			l.stop(t)
		})
	}
}

// replaceStore puts a file where the folder was.
func replaceStore(s *shop) (undo func()) {
	away := s.ModulesFolder() + ".away"
	s.move(s.ModulesFolder(), away)
	if err := os.WriteFile(s.ModulesFolder(), nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		if err := os.Remove(s.ModulesFolder()); err != nil {
			s.t.Fatal(err)
		}
		s.move(away, s.ModulesFolder())
	}
}

// smallFile is more than anything but a module needs.
const smallFile = 1 << 20

// fillDisk lets this process, and with it the control plane, write small files
// only.
func fillDisk(s *shop) (undo func()) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		s.t.Fatal(err)
	}
	set := func(l syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			s.t.Fatal(err)
		}
	}
	set(syscall.Rlimit{Cur: smallFile, Max: before.Max})
	undo = func() { set(before) }
	s.t.Cleanup(undo)
	return undo
}
