package files

import (
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/wire"
)

func assemble(entries []entry) smi.Objects {
	objects := make([]wire.Object, len(entries))
	for i, e := range entries {
		objects[i] = e.value
	}
	return wire.Assemble(objects)
}
