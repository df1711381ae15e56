# Baler's commands. `make` alone prints this list.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TOOL := go tool -modfile=tools/go.mod
# How long one fuzz target runs: inputs (50000x) or time (30s).
FUZZ ?= 20000x
# Which benchmarks run: a regular expression.
BENCH ?= .
ARGS ?=
# How long faults follow each other in the soak, which script of them, and which faults (a regular expression).
DURATION ?= 10m
SEED ?= 1
FAULTS ?=
# How many hostile requests `make hostile` sends.
HOSTILE ?= 1000000
# Set: measure other bundlers too.
PEERS ?=

.PHONY: help
help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run
.PHONY: demo dev build operators
demo: ## Embedded chain, bundler and a load of real operations (ARGS="--ops 50 --json")
	go run ./cmd/baler demo $(ARGS)

dev: ## The same stack left running, for a client to talk to
	go run ./cmd/baler dev $(ARGS)

build: ## Build bin/baler
	go build -trimpath -o bin/baler ./cmd/baler

operators: ## Build bin/operators/baler: without the embedded chain, two thirds of the size, for whoever runs `baler node`
	go build -trimpath -tags=nodev -o bin/operators/baler ./cmd/baler

##@ Test
.PHONY: test deps vet unit race fuzz clients conformance faults fleet scale soak
# One after another: each step is heavy enough to use every core by itself.
test: ## Everything: install what the tests need, then vet, tests, the race detector, fuzzing, real clients
	@$(MAKE) deps
	@$(MAKE) vet
	@$(MAKE) unit
	@$(MAKE) conformance
	@$(MAKE) fuzz
	@$(MAKE) clients
	@echo "make test: everything passed"

deps: ## Install what the tests need: redis-server, chromium, promtool, npm packages (only what is missing)
	scripts/install-test-deps.sh

vet: ## go vet
	go vet ./...

# The race detector makes the EVM up to 17 times slower. It has nothing to find where a test runs one thing after the other: in
# packages that start no goroutine, whose tests of what happens at the same time say so in their names. Of the tests of the whole
# program some run with it: those in which the most happens at the same time. `make race` runs everything with it. The program's
# tests wait for blocks most of the time, so more of them run at once than there are cores.
SEQUENTIAL := aggregator bundlesender datafee estimation pool validation
RACED := ^Test(AHundredOperations|AReorgLoses|ASplitFleet|AnOperatorDrains|SeveralChains|ALoadOnADevelopmentStack|TheBundlerWorksOn)
GOTEST := $(TOOL) gotestsum --format=pkgname
PLAIN := cmd/baler $(SEQUENTIAL)

unit: ## Every Go test in random order, with the race detector where things happen at the same time
	@mkdir -p build
	$(GOTEST) --jsonfile=build/race.json -- -race -shuffle=on -timeout=30m \
	  $$(go list ./... | grep -vxE '$(subst $() ,|,$(PLAIN:%=baler/%))')
	$(GOTEST) --jsonfile=build/plain.json -- -parallel=5 -shuffle=on -timeout=30m $(PLAIN:%=./%)
	$(GOTEST) --jsonfile=build/same-time.json -- -race -timeout=30m -run='AtTheSameTime|$(RACED)' $(PLAIN:%=./%)
	cat build/race.json build/plain.json build/same-time.json >build/tests.json

race: ## Every Go test with the race detector: half an hour on two cores
	go test -race -shuffle=on -timeout=60m ./...

fuzz: ## Every fuzz target for a few seconds (FUZZ=60s for longer)
	scripts/fuzz.sh $(FUZZ)

.PHONY: hostile
hostile: ## A million hostile requests: too large, too deep, too many, broken, never finished (HOSTILE=10000 for fewer)
	go test ./rpc -run TestHostileRequestsTakeBoundedMemory -v -timeout=30m -hostile=$(HOSTILE)

clients: ## viem and permissionless.js against a `baler dev` process
	cd test/clients && npm test

conformance: ## docs/conformance.md: which test shows each rule of ERC-7562 and ERC-7769, from the last `make unit`
	go run ./test/conformance --out docs/conformance.md build/tests.json

faults: ## The tests with faults at full size: 4 senders, 500 operations each, one fault after the other
	BALER_FAULT_OPS=2000 go test -count=1 -parallel=1 -timeout=60m -v -run='TestFaultsLoseNothing|TestKillsAtRandom' ./cmd/baler

fleet: ## Whole and split fleets with one pool in Redis: 2,000 operations each while a script kills, stops and cuts processes off
	BALER_FAULT_OPS=2000 go test -count=1 -parallel=1 -timeout=60m -v -run='TestAFleetInTrouble|TestASplitFleetInTrouble' ./cmd/baler

scale: ## One, two and three `baler rpc` for one pool, a core each: the rates at which they estimate and accept
	BALER_SCALE_OPS=1500 go test -count=1 -timeout=20m -v -run='TestEdgesShareTheLoad' ./cmd/baler

soak: ## The bundler under load through a seeded script of faults (DURATION=10m SEED=1 FAULTS=reorg for some)
	BALER_SOAK=$(DURATION) BALER_SOAK_SEED=$(SEED) BALER_SOAK_FAULTS='$(FAULTS)' go test -count=1 -timeout=48h -v -run='^TestSoak$$' ./cmd/baler

##@ Measure
.PHONY: bench bench-programs report gobench
bench: bench-programs ## The whole program under load, beside Alto with PEERS=1 (ARGS="--scenarios burst --signers 4")
	bin/bench $(if $(PEERS),--alto test/bench/alto) $(ARGS)

report: bench-programs ## Measure what docs/benchmarks.md shows of load and growth, and write its tables and plots (12 minutes with PEERS=1)
	bin/bench report $(if $(PEERS),--alto test/bench/alto) $(ARGS)

bench-programs: operators
	go build -o bin/bench ./test/bench
	$(if $(PEERS),cd test/bench/alto && npm ci --no-audit --no-fund --loglevel=error)

gobench: ## Go benchmarks with allocations (BENCH=Validate for some)
	go test -run='^$$' -bench='$(BENCH)' -benchmem ./...

##@ Check and change the code
.PHONY: lint golangci operators-check tidy-check deadcode fmt contracts contracts-check vendor vendor-check proto proto-check
lint: ## Everything a reviewer should not have to look for
	@$(MAKE) golangci
	@$(MAKE) operators-check
	@$(MAKE) tidy-check
	@$(MAKE) deadcode
	@$(MAKE) contracts-check
	@$(MAKE) vendor-check
	@$(MAKE) proto-check
	@echo "make lint: everything passed"

golangci: ## golangci-lint with .golangci.yml
	$(TOOL) golangci-lint run ./...

operators-check: ## The operators' build compiles, and has nothing that only the whole one uses
	$(TOOL) golangci-lint run --build-tags=nodev --tests=false ./cmd/baler/...

tidy-check: ## go.mod, go.sum and tools/ hold exactly what is used
	go mod tidy -diff
	cd tools && go mod tidy -diff

deadcode: ## No function that nothing calls
	scripts/deadcode.sh

fmt: ## Format the code and order its imports
	$(TOOL) golangci-lint fmt ./...

contracts: ## Rewrite the contract artifacts from their pinned npm packages
	node scripts/contracts.mjs

contracts-check: ## The committed contract artifacts are what the pinned npm packages give
	node scripts/contracts.mjs --check

vendor: ## Rewrite the live page's third-party files from their pinned npm packages
	node scripts/vendor.mjs

vendor-check: ## The committed third-party files are what the pinned npm packages give
	node scripts/vendor.mjs --check

proto: ## Rewrite the code of the protocol between processes from its schema
	scripts/proto.sh

proto-check: ## The schema is clean, says nothing that older processes misread, and the committed code is what it gives
	scripts/proto.sh --check
