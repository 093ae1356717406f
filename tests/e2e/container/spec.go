// Package container runs one program as a container would: on a file system of
// its own that holds nothing but its image and its volumes, with its own process
// ids, as its own user, with the capabilities it was given and no more. It is for
// tests only: it must never be taken for a security boundary, since there is no
// seccomp and no limit of memory or CPU.
package container

// Spec says what to run.
type Spec struct {
	Root     string // empty folder where the root is mounted, in a namespace of its own
	Hostname string
	Mounts   []Mount
	Links    map[string]string // path to what it points to
	Argv     []string
	Env      []string
	Dir      string

	UID, GID        uint32
	Groups          []uint32
	Capabilities    []uintptr // in the bounding set; a user other than root gets none of them
	NoNewPrivileges bool
	ReadOnlyRoot    bool
}

// Mount shows a file or folder of the node at a path of the container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Request asks for one more program in a container that runs.
type Request struct {
	ID   int
	Argv []string
}

// Report is what comes back: that the program started, that it could not, or what
// a Request led to.
type Report struct {
	Started bool
	Error   string
	ID      int
	Code    int
	Output  []byte
}

// notStarted is the exit code where the container could not be made.
const notStarted = 125
