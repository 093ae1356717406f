# What to type. Everything goes to bin/ and .tools/, which git ignores.

GO ?= go
MODULE = bin/mesh.wasm

.PHONY: all build module envoy demo demo-check test outages conformance check bench fuzz fuzz-long fuzz-mutants clean

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

# The long form: a minute without a control plane, five rounds of kills, limits on time.
outages: build
	cd tests/outages && $(GO) test -count=1 -v -timeout 30m -run . -args -long

# From the package's own folder, where go test shows what the test prints.
conformance:
	cd tests/conformance && $(GO) test -count=1 -timeout 5m

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
