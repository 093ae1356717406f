# What to type. Everything goes to bin/ and .tools/, which git ignores.

GO ?= go
MODULE = bin/mesh.wasm

.PHONY: all build module envoy demo demo-check test conformance edits check bench fuzz fuzz-long fuzz-mutants clean

# How long each decoder is fuzzed; how many cases the long comparison has, and
# that wazero sees the cases of every nth world.
FUZZTIME ?= 10s
CASES ?= 10000000
WAZERO ?= 1

all: build

build: module
	$(GO) build -o bin/ . ./injector/wasmesh-sidecar
	$(GO) build -o bin/bookstore-app ./examples/bookstore/app

module:
	GOOS=wasip1 GOARCH=wasm $(GO) build -buildmode=c-shared -trimpath -o $(MODULE) ./filters/modules/mesh

envoy: build
	bin/wasmesh envoy --tools .tools

demo: build
	bin/wasmesh demo

demo-check: build
	$(GO) run ./tests/democheck

test: build
	./.ci/test

# From the package's own folder, where go test shows what the test prints.
conformance:
	cd tests/conformance && $(GO) test -count=1 -timeout 5m

# How long 200 edits take from the file to Envoy, and that 99 of 100 take 250 ms
# at most. On a quiet machine.
edits:
	$(GO) test ./tests/scope -count=1 -v -run 'TestScope/edits' -args -edits 200 -slowest 250ms

check:
	./.ci/check

bench: build
	$(GO) run ./tests/bench

fuzz:
	./.ci/fuzz $(FUZZTIME)

fuzz-long:
	$(GO) test ./tests/differential -count=1 -v -timeout 180m -run 'TestLong|TestNative' -args -cases $(CASES) -wazero $(WAZERO) -worlds 1000

fuzz-mutants:
	$(GO) test ./tests/differential -count=1 -v -timeout 60m -run TestMutants -args -mutants

clean:
	rm -rf bin
