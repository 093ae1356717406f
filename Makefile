# What to type. Everything goes to bin/ and .tools/, which git ignores.

GO ?= go
MODULE = bin/mesh.wasm

# The same source by the second compiler. `make TARGET TINYGO=1` builds it; once
# it is there it is kept up to date, and `make demo` runs it.
TINYGO ?=
LIGHT = bin/mesh-tinygo.wasm
JUDGED = $(if $(TINYGO),$(LIGHT),$(MODULE))

.PHONY: all build module modules envoy images demo demo-check test e2e e2e-edits outages conformance identity edits check bench bench-inject lightness swaps fuzz fuzz-long fuzz-mutants clean

# How long each decoder is fuzzed; how many cases the long comparison has, and
# that wazero sees the cases of every nth world.
FUZZTIME ?= 10s
CASES ?= 10000000
WAZERO ?= 1

all: build

build: modules
	$(GO) build -o bin/ . ./injector/wasmesh-sidecar
	CGO_ENABLED=0 GOOS=linux $(GO) build -trimpath -ldflags "-s -w" -o bin/ ./injector/wasmesh-redirect
	$(GO) build -o bin/bookstore-app ./examples/bookstore/app

module:
	GOOS=wasip1 GOARCH=wasm $(GO) build -buildmode=c-shared -trimpath -o $(MODULE) ./filters/modules/mesh

modules: module $(if $(TINYGO),$(LIGHT),$(wildcard $(LIGHT)))

$(LIGHT): .ci/tinygo .ci/wasm-opt filters/modules/proxywasm.json go.mod go.sum $(shell find filters -name '*.go')
	./.ci/tinygo $@ ./filters/modules/mesh

# The images that the chart runs, for both platforms, without a container engine:
# into a folder, or to where TO=registry.example.com/mesh says.
TO ?= oci:bin/images
images: modules
	$(GO) run ./charts/images/build --to $(TO) --tag $(shell sed -n 's/^appVersion: //p' charts/wasmesh/Chart.yaml) --module $(JUDGED) $(if $(BASE),--base $(BASE))

envoy: build
	bin/wasmesh envoy --tools .tools

demo: build
	bin/wasmesh demo

demo-check: build
	$(GO) run ./tests/democheck

test: build
	WASMESH_MODULE=$(CURDIR)/$(JUDGED) ./.ci/test

# On a real Kubernetes on this machine, as root, two packages of tests at a time,
# each with a Kubernetes of its own. The first run builds Kubernetes, etcd, Helm and
# cert-manager into .tools/e2e.
FIGURES = .tools/e2e/figures
e2e: module
	tests/e2e/tools/build .tools/e2e
	cd tests/e2e && $(GO) vet ./... && $(GO) tool -modfile=../../go.mod staticcheck ./...
	rm -f $(FIGURES)
	WASMESH_E2E_TOOLS=$(CURDIR)/.tools/e2e WASMESH_FIGURES=$(CURDIR)/$(FIGURES) $(if $(TINYGO),WASMESH_MODULE=$(CURDIR)/$(LIGHT)) .ci/packages tests/e2e "on Kubernetes" -timeout 28m -p 2 $(if $(RUN),-v -run '$(RUN)')
	@cat $(FIGURES) && echo "e2e: fine; nothing is left"

# How long 200 edits take from the API server to Envoy, idle and beside ten changes
# of pods per second. On a quiet machine.
e2e-edits: module
	tests/e2e/tools/build .tools/e2e
	cd tests/e2e && WASMESH_E2E_TOOLS=$(CURDIR)/.tools/e2e $(GO) test -count=1 -v -run 'TestMesh/(install|bookstore|access|edits|uninstall)' . -args -edits 200

# The long form: a minute without a control plane, five rounds of kills, limits on time.
outages: modules
	cd tests/outages && $(if $(TINYGO),WASMESH_MODULE=$(CURDIR)/$(LIGHT)) $(GO) test -count=1 -v -timeout 30m -run . -args -long

# From the package's own folder, where go test shows what the test prints.
conformance: modules
	cd tests/conformance && $(if $(TINYGO),WASMESH_MODULE=$(CURDIR)/$(LIGHT)) $(GO) test -count=1 -timeout 5m

# Certificates that live longer, and more handshakes, than in make test.
identity: modules
	cd tests/identity && $(if $(TINYGO),WASMESH_MODULE=$(CURDIR)/$(LIGHT)) $(GO) test -count=1 -v -timeout 20m -args -life 2m -rate 500

# How long 200 edits take from the file to Envoy, and that 99 of 100 take 250 ms
# at most. On a quiet machine.
edits: modules
	cd tests/scope && $(if $(TINYGO),WASMESH_MODULE=$(CURDIR)/$(LIGHT)) $(GO) test -count=1 -v -run 'TestScope/edits' -args -edits 200 -slowest 250ms

check:
	./.ci/check

# What each build of the module costs an Envoy, and five million requests.
lightness:
	$(MAKE) build TINYGO=1
	$(GO) run ./tests/lightness $(LIGHT) $(MODULE)

bench: build
	$(GO) run ./tests/bench $(if $(TINYGO),-module Go=$(MODULE) -module TinyGo=$(LIGHT))

# Pods per second of the injector's own CPU, and how long an API server waits.
bench-inject:
	$(GO) run ./tests/admissions

fuzz:
	./.ci/fuzz $(FUZZTIME)

# 300 swaps of the module under load, in 10 to 20 minutes.
swaps:
	$(GO) test ./tests/delivery -count=1 -v -timeout 60m -run TestSwapsUnderLoad -args -swaps 300

fuzz-long:
	$(GO) test ./tests/differential -count=1 -v -timeout 180m -run 'TestLong|TestNative' -args -cases $(CASES) -wazero $(WAZERO) -worlds 1000

fuzz-mutants:
	$(GO) test ./tests/differential -count=1 -v -timeout 60m -run TestMutants -args -mutants

clean:
	rm -rf bin
