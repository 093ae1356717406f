# What to type. Everything goes to bin/ and .tools/, which git ignores.

GO ?= go
MODULE = bin/mesh.wasm

.PHONY: all build module envoy demo demo-check test conformance check bench fuzz clean

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

check:
	./.ci/check

bench: build
	$(GO) run ./tests/bench

clean:
	rm -rf bin
