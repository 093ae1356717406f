package wasmtest

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"
)

// WASI error numbers that Envoy answers with.
const (
	errnoSuccess = 0
	errnoBadf    = 8
	errnoFault   = 21
	errnoInval   = 28
	errnoNoent   = 44
	errnoNosys   = 52
	errnoNotdir  = 20
	errnoNotsup  = 58
)

const (
	stdout = 1
	stderr = 2
)

// maxRandomBytes is Envoy's limit for one random_get.
const maxRandomBytes = 64 << 10

// wasiFunctions is Envoy's list with Envoy's signatures, some of which are
// shorter than the standard's: a guest that imports the standard's form of
// those does not link there, and must not link here.
func wasiFunctions() map[string]hostcall {
	onStandardStream := func(_ invocation, a []uint64) uint32 {
		if fd := uint32(a[0]); fd != stdout && fd != stderr {
			return errnoBadf
		}
		return errnoSuccess
	}
	calls := map[string]hostcall{}
	add := func(name, params string, serve func(invocation, []uint64) uint32) {
		calls[name] = hostcall{signature{params, "i"}, "", serve}
	}
	add("fd_write", "iiii", func(v invocation, a []uint64) uint32 { return v.write(a[0], a[1], a[2], a[3]) })
	add("fd_pwrite", "iiiIi", func(v invocation, a []uint64) uint32 { return v.write(a[0], a[1], a[2], a[4]) })
	add("fd_fdstat_get", "ii", serveDescriptorStatus)
	add("environ_get", "ii", serveEnvironment)
	add("environ_sizes_get", "ii", serveEnvironmentSizes)
	add("args_get", "ii", answer(errnoSuccess))
	add("args_sizes_get", "ii", zeroed(errnoSuccess, 0, 1))
	add("clock_time_get", "iIi", serveClock)
	add("clock_res_get", "ii", serveClockResolution)
	add("random_get", "ii", serveRandom)
	add("sched_yield", "", answer(errnoSuccess))
	add("poll_oneoff", "iiii", servePoll)
	for name, params := range map[string]string{
		"fd_allocate": "iII", "fd_datasync": "i", "fd_fdstat_set_rights": "iII", "fd_filestat_set_size": "iI",
		"fd_filestat_set_times": "iIIi", "fd_sync": "i",
	} {
		add(name, params, onStandardStream)
	}
	addRefusals(add)
	calls["proc_exit"] = hostcall{signature{"i", ""}, "", func(_ invocation, a []uint64) uint32 {
		panic(&exitError{uint32(a[0])})
	}}
	return calls
}

// addRefusals adds what has no file or socket to work on.
func addRefusals(add func(string, string, func(invocation, []uint64) uint32)) {
	add("fd_read", "iiii", answer(errnoNosys))
	add("fd_pread", "iiiIi", answer(errnoNosys))
	add("fd_seek", "iIii", answer(errnoSuccess))
	add("fd_close", "i", answer(errnoSuccess))
	add("fd_advise", "iIIi", answer(errnoSuccess))
	add("fd_fdstat_set_flags", "ii", answer(errnoNosys))
	add("fd_filestat_get", "ii", answer(errnoBadf))
	add("fd_prestat_get", "ii", answer(errnoBadf))
	add("fd_prestat_dir_name", "iii", answer(errnoNosys))
	add("fd_readdir", "iiiIi", zeroed(errnoNotdir, 4))
	add("fd_renumber", "ii", func(_ invocation, a []uint64) uint32 {
		for _, fd := range a[:2] {
			if uint32(fd) != stdout && uint32(fd) != stderr {
				return errnoBadf
			}
		}
		return errnoNotsup
	})
	add("fd_tell", "ii", func(v invocation, a []uint64) uint32 {
		if fd := uint32(a[0]); fd != stdout && fd != stderr {
			return errnoBadf
		}
		return fault(v.put64(a[1], 0))
	})
	add("path_open", "iiiiiIIii", answer(errnoNoent))
	for name, params := range map[string]string{
		"path_create_directory": "iii", "path_filestat_get": "iiiii", "path_filestat_set_times": "iiiiIIi",
		"path_link": "iiiiii", "path_remove_directory": "iii", "path_rename": "iiiiii", "path_symlink": "iiii",
		"path_unlink_file": "iii", "sock_shutdown": "ii",
	} {
		add(name, params, answer(errnoNotsup))
	}
	add("path_readlink", "iiiiii", zeroed(errnoNotsup, 5))
	add("sock_accept", "iii", zeroed(errnoNotsup, 2))
	add("sock_recv", "iiiiii", zeroed(errnoNotsup, 4))
	add("sock_send", "iiiii", zeroed(errnoNotsup, 4))
}

func fault(ok bool) uint32 {
	if !ok {
		return errnoFault
	}
	return errnoSuccess
}

// zeroed answers errno after clearing the words the given arguments point to.
func zeroed(errno uint32, arguments ...int) func(invocation, []uint64) uint32 {
	return func(v invocation, a []uint64) uint32 {
		for _, i := range arguments {
			if !v.put32(a[i], 0) {
				return errnoFault
			}
		}
		return errno
	}
}

// write makes one log line of one write, without its last newline.
func (v invocation) write(fd, vectors, count, writtenAt uint64) uint32 {
	level := LevelInfo
	switch uint32(fd) {
	case stdout:
	case stderr:
		level = LevelError
	default:
		return errnoBadf
	}
	var text []byte
	for i := range uint64(uint32(count)) {
		vector, ok := v.bytes(vectors+8*i, 8)
		if !ok {
			return errnoFault
		}
		part, ok := v.bytes(uint64(uint32At(vector, 0)), uint64(uint32At(vector, 4)))
		if !ok {
			return errnoFault
		}
		text = append(text, part...)
	}
	if len(text) > 0 {
		v.scope.log(level, strings.TrimSuffix(string(text), "\n"), string(text))
	}
	return fault(v.put32(writtenAt, uint32(len(text))))
}

// serveDescriptorStatus grants the standard streams the right to be written.
func serveDescriptorStatus(v invocation, a []uint64) uint32 {
	if fd := uint32(a[0]); fd != stdout && fd != stderr {
		return errnoBadf
	}
	const rightToWrite = 64
	var stat [24]byte
	binary.LittleEndian.PutUint64(stat[8:], rightToWrite)
	v.memory.Write(uint32(a[1]), stat[:])
	return errnoSuccess
}

func serveEnvironment(v invocation, a []uint64) uint32 {
	pointer, text := a[0], a[1]
	for _, p := range v.in.vm.options.Environment {
		entry := p.Name + "=" + p.Value + "\x00"
		if !v.put32(pointer, uint32(text)) || !v.memory.WriteString(uint32(text), entry) {
			return errnoFault
		}
		pointer, text = pointer+4, text+uint64(len(entry))
	}
	return errnoSuccess
}

func serveEnvironmentSizes(v invocation, a []uint64) uint32 {
	size := 0
	for _, p := range v.in.vm.options.Environment {
		size += len(p.Name) + len(p.Value) + 2
	}
	return fault(v.put32(a[0], uint32(len(v.in.vm.options.Environment))) && v.put32(a[1], uint32(size)))
}

// The clocks Envoy has.
const (
	clockRealtime = iota
	clockMonotonic
)

// serveClock adds slept time to the monotonic clock only, so that sleeping
// guests wake up while the virtual date stays where the test put it.
func serveClock(v invocation, a []uint64) uint32 {
	vm := v.in.vm
	switch uint32(a[0]) {
	case clockRealtime:
		return fault(v.put64(a[2], uint64(vm.now.UnixNano())))
	case clockMonotonic:
		// A monotonic clock that starts at zero confuses Go's runtime.
		const uptime = time.Hour
		elapsed := uptime + vm.now.Sub(vm.options.Now) + vm.slept
		return fault(v.put64(a[2], uint64(elapsed)))
	}
	return errnoNotsup
}

func serveClockResolution(v invocation, a []uint64) uint32 {
	if uint32(a[0]) > clockMonotonic {
		return errnoNotsup
	}
	return fault(v.put64(a[1], 1))
}

func serveRandom(v invocation, a []uint64) uint32 {
	if uint32(a[1]) > maxRandomBytes {
		return errnoInval
	}
	target, ok := v.bytes(a[0], a[1])
	if !ok {
		return errnoFault
	}
	_, _ = rand.Read(target)
	return errnoSuccess
}

// servePoll returns at once and reports no event, as Envoy does. There the
// guest asks again until the time has passed; here the time passes.
func servePoll(v invocation, a []uint64) uint32 {
	const subscriptionBytes, clockTag = 48, 0
	for i := range uint64(uint32(a[2])) {
		subscription, ok := v.bytes(a[0]+i*subscriptionBytes, subscriptionBytes)
		if !ok {
			return errnoFault
		}
		if subscription[8] != clockTag {
			continue
		}
		const absolute = 1
		if wait := binary.LittleEndian.Uint64(subscription[24:]); subscription[40]&absolute == 0 {
			v.in.vm.slept += time.Duration(min(wait, uint64(24*time.Hour)))
		}
	}
	return fault(v.put32(a[3], 0))
}
