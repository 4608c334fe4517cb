# make run    gateway with a live page and simulated devices
# make test   everything that must hold, installing what it needs on Debian as root
# make build  bin/naru and bin/firmware-sim
# make lint   formatting, vet, linters, import rules
# make bench  benchmarks in the form that benchstat reads
# make bench-push  those of live push that take long, beside other servers too
# make fuzz   every fuzz target for FUZZTIME
# make crash  2,000 power cuts, and 100 times kill -9 under load

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.PHONY: run test build page lint bench bench-push fuzz crash clean go-test arm-test page-test browser-test deps

GOLANGCI_VERSION := v2.15.0
GOLANGCI := bin/golangci-lint-$(GOLANGCI_VERSION)
PAGE := push/dashboard
PAGE_SOURCES := $(shell find $(PAGE)/src -type f 2>/dev/null) $(PAGE)/index.html $(PAGE)/package-lock.json $(PAGE)/tsconfig.json $(wildcard $(PAGE)/vite.*.mjs $(PAGE)/tsconfig.*.json)
FUZZTIME ?= 30s
BENCHTIME ?= 1s
COUNT ?= 1
ARGS ?=

run: page
	CGO_ENABLED=0 go build -trimpath -o bin/naru ./cmd/naru
	exec bin/naru serve --demo $(ARGS)

build: page
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/ ./cmd/naru ./firmware-sim

# The page needs Node.js; without it the gateway serves a small built-in one.
page:
	@if node -e '[a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || a === 20 && b >= 19 ? 0 : 1)' 2>/dev/null && command -v npm >/dev/null; then \
	  $(MAKE) --no-print-directory $(PAGE)/dist/index.html; \
	else \
	  echo "Node.js 20.19 or later with npm is not installed: the gateway will show its small built-in page."; \
	  echo "For the full page install it (https://nodejs.org, or your distribution's nodejs and npm) and run make again."; \
	fi

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package-lock.json
	cd $(PAGE) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(PAGE)/dist/index.html: $(PAGE)/node_modules/.package-lock.json $(PAGE_SOURCES)
	cd $(PAGE) && npm run --silent build
	@touch $@

test: deps lint go-test arm-test page-test browser-test

deps:
	.ci/deps

go-test:
	go build ./...
	go test -race -shuffle=on -timeout 20m ./...
	GOARCH=arm GOARM=6 CGO_ENABLED=0 go vet ./...

# The store on the processor of the first Raspberry Pi, which has 32 bits and faults
# on a 64-bit atomic that is not aligned. -short leaves out the tests that start the
# test program once more, which it cannot under qemu.
arm-test:
	@if command -v qemu-arm >/dev/null; then \
	  echo "GOARCH=arm GOARM=6 go test -short ./storage/..."; \
	  GOARCH=arm GOARM=6 CGO_ENABLED=0 go test -short -shuffle=on -timeout 30m -exec "qemu-arm -cpu arm1176" ./storage/...; \
	else \
	  echo "qemu-arm is not installed (Debian package qemu-user): the store is not tested on ARM."; \
	fi

page-test: page
	cd $(PAGE) && npm run --silent check && npm test --silent

browser-test: page
	CGO_ENABLED=0 go build -trimpath -o bin/naru ./cmd/naru
	cd $(PAGE) && NARU_BIN="$(CURDIR)/bin/naru" npm run --silent e2e

$(GOLANGCI):
	GOBIN="$(CURDIR)/bin" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv bin/golangci-lint $@

# golangci-lint carries gofumpt, gci, vet and staticcheck; .golangci.yml holds the
# import rules, and cmd/naru/architecture_test.go holds them once more as a test.
lint: $(GOLANGCI)
	$(GOLANGCI) config verify
	$(GOLANGCI) run ./...
	go mod verify >/dev/null

# The second line measures a whole gateway, with senders and viewers on the same
# machine: some 6 minutes a round. As root it mounts a file system of its own to
# count what reaches the disk. What takes longer is for bench-push.
bench:
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) -count $(COUNT) -benchmem ./device ./ingest/... ./storage/... ./push/... ./firmware-sim/...
	go test -run '^$$' -bench System -skip 'System(Peers|Growth|Stalled)' -benchtime 1x -count $(COUNT) -timeout 2h ./cmd/naru

# Some 25 minutes a round, in which it installs other servers: docs/benchmarks.md.
bench-push:
	NARU_BENCH_PEERS=$(COUNT) go test -run '^$$' -bench SystemPeers -benchtime 1x -timeout 6h ./cmd/naru
	go test -run '^$$' -bench 'System(Growth|Stalled)' -benchtime 1x -count $(COUNT) -timeout 6h ./cmd/naru

fuzz:
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

# make test does the same fewer times.
crash:
	go test -v -count 1 -timeout 20m -run '^(TestPowerCut|TestKill)$$' ./storage -power-cuts 2000 -crash-rounds 100
	NARU_TEST_CRASHES=100 go test -v -count 1 -timeout 20m -run '^TestKilled$$' ./cmd/naru

clean:
	rm -rf bin $(PAGE)/dist/assets $(PAGE)/dist/client $(PAGE)/dist/index.html
