package wasmtest

import (
	"context"
	"slices"
)

// queueName names a shared queue: each vm_id has its own.
type queueName struct{ vmID, name string }

// queue is a shared queue. It belongs to the process, and the VM that
// registered it last hears of what is put into it.
type queue struct {
	items   [][]byte
	vm      *VM
	context uint32
}

// readiness is a note that a queue has something for a VM.
type readiness struct {
	vm             *VM
	context, token uint32
}

// Queue returns what waits in the shared queue that VMs of the given vm_id
// registered under name, oldest first, and whether there is such a queue.
func (p *Proxy) Queue(vmID, name string) ([][]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queues[p.tokens[queueName{vmID, name}]]
	if q == nil {
		return nil, false
	}
	items := make([][]byte, len(q.items))
	for i, item := range q.items {
		items[i] = slices.Clone(item)
	}
	return items, true
}

// registerQueue keeps what an earlier registration has gathered.
func (p *Proxy) registerQueue(vm *VM, context uint32, name string) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := queueName{vm.options.VMID, name}
	token, ok := p.tokens[key]
	if !ok {
		token = uint32(len(p.tokens)) + 1
		p.tokens[key], p.queues[token] = token, &queue{}
	}
	p.queues[token].vm, p.queues[token].context = vm, context
	return token
}

func (p *Proxy) resolveQueue(vmID, name string) (uint32, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	token, ok := p.tokens[queueName{vmID, name}]
	return token, ok
}

func (p *Proxy) enqueue(token uint32, item []byte) status {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queues[token]
	if q == nil {
		return statusNotFound
	}
	q.items = append(q.items, item)
	p.ready = append(p.ready, readiness{q.vm, q.context, token})
	return statusOK
}

func (p *Proxy) dequeue(token uint32) ([]byte, status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queues[token]
	if q == nil {
		return nil, statusNotFound
	}
	if len(q.items) == 0 {
		return nil, statusEmpty
	}
	item := q.items[0]
	q.items = q.items[1:]
	return item, statusOK
}

// nextReady takes the oldest note for the VM.
func (p *Proxy) nextReady(vm *VM) (readiness, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.ready, func(r readiness) bool { return r.vm == vm })
	if i < 0 {
		return readiness{}, false
	}
	r := p.ready[i]
	p.ready = slices.Delete(p.ready, i, i+1)
	return r, true
}

// forget drops the notes for a VM that is closed. Its queues stay, as another
// VM may have resolved them.
func (p *Proxy) forget(vm *VM) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = slices.DeleteFunc(p.ready, func(r readiness) bool { return r.vm == vm })
}

// hearQueues tells the guest of everything put into its queues, once for each
// item, as the worker's event loop does after the callback that put it there.
// A guest that feeds its own queue without end is cut off here.
func (vm *VM) hearQueues(ctx context.Context) {
	const most = 10_000
	for range most {
		r, ok := vm.options.Proxy.nextReady(vm)
		if !ok {
			return
		}
		sc := vm.in.scopes[r.context]
		if sc == nil {
			continue
		}
		vm.in.callback(ctx, sc, "proxy_on_queue_ready", uint64(r.context), uint64(r.token))
		vm.in.settle()
	}
}

func queueCalls() map[string]hostcall {
	return map[string]hostcall{
		"proxy_register_shared_queue": {signature{"iii", "i"}, "", serveRegisterQueue},
		"proxy_resolve_shared_queue":  {signature{"iiiii", "i"}, "", serveResolveQueue},
		"proxy_enqueue_shared_queue":  {signature{"iii", "i"}, "", serveEnqueue},
		"proxy_dequeue_shared_queue":  {signature{"iii", "i"}, "", serveDequeue},
	}
}

func serveRegisterQueue(v invocation, a []uint64) status {
	name, ok := v.text(a[0], a[1])
	if !ok {
		return statusInvalidMemoryAccess
	}
	vm := v.in.vm
	return wrote(v.put32(a[2], vm.options.Proxy.registerQueue(vm, v.scope.root().id, name)))
}

// serveResolveQueue takes an empty vm_id for the caller's own.
func serveResolveQueue(v invocation, a []uint64) status {
	vmID, vmOK := v.text(a[0], a[1])
	name, nameOK := v.text(a[2], a[3])
	if !vmOK || !nameOK {
		return statusInvalidMemoryAccess
	}
	if vmID == "" {
		vmID = v.in.vm.options.VMID
	}
	token, ok := v.in.vm.options.Proxy.resolveQueue(vmID, name)
	if !ok {
		return statusNotFound
	}
	return wrote(v.put32(a[4], token))
}

func serveEnqueue(v invocation, a []uint64) status {
	item, ok := v.copied(a[1], a[2])
	if !ok {
		return statusInvalidMemoryAccess
	}
	return v.in.vm.options.Proxy.enqueue(uint32(a[0]), item)
}

func serveDequeue(v invocation, a []uint64) status {
	item, st := v.in.vm.options.Proxy.dequeue(uint32(a[0]))
	if st != statusOK {
		return st
	}
	return v.give(item, a[1], a[2])
}
