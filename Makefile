# sekisho: what people type is `make demo` and `make test`; the rest is for those who change it.
GO      ?= go
BIN     := bin/sekisho
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

.PHONY: build demo test check bench web tools clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/sekisho

demo: build
	$(BIN) demo --dir .demo

# What the end-to-end tests drive: ssh and sshd, curl, Chromium and its certificate tools. Installed when this is Debian
# and we may; else each missing one is named and its tests are listed as skipped (a failure under CI).
tools:
	@sh testdata/tools.sh

test: tools
	$(GO) vet ./...
	$(GO) test -count=1 -timeout 20m ./...

check:
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

bench: build tools
	$(GO) test -run '^$$' -bench . -benchmem ./policy/...
	SEKISHO_IDLE=1000 $(GO) test -count=1 -run '^TestAnIdleSessionIsSmall$$' -v ./gateway/sshproxy
	$(GO) run ./testdata/bench -sekisho $(BIN)

# The pages are plain HTML, CSS and JavaScript modules embedded as they are: there is nothing to bundle yet.
web:
	@echo "web: nothing to build; gateway/console embeds its pages as they stand"

clean:
	rm -rf bin
