# Every target is the plain command that a reader could type.
GO       ?= go
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null)
FUZZTIME ?= 60s
RACE     := $(GO) test -race -shuffle=on
BENCH    ?= .
COUNT    ?= 6
BENCHPKGS ?= ./internal/packet ./internal/conntrack ./nat ./router
TOOL     := $(GO) tool -modfile=internal/tools/go.mod

# What the end-to-end tests and those of the stores use, as Debian calls it.
DEPS := iproute2 iputils-ping curl nginx-light iperf3 traceroute iputils-arping nftables tcpdump tshark ethtool \
        procps netcat-openbsd util-linux ca-certificates openssl etcd-server lintian man-db systemd \
        python3-openstackclient python3-octaviaclient python3-scapy prometheus busybox isc-dhcp-client dhcpcd-base \
        isc-dhcp-relay cloud-init openstack-dashboard python3-octavia-dashboard

.PHONY: build
build: ## Build the static binary ./taprouter
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o taprouter ./cmd/taprouter

.PHONY: deb
deb: build ## Build the Debian package in dist/; one commit makes the same bytes each time
	GO="$(GO)" packaging/deb.sh "$(VERSION)"

.PHONY: lint-deb
lint-deb: deb ## Build the Debian package and have lintian and systemd-analyze look at it
	$(GO) test -v -count=1 -timeout 10m -run '^TestPackage' ./internal/e2e

.PHONY: check
check: ## What must pass before a commit: format, vet (other platforms, too), staticcheck, tidy, race tests
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(GO) mod tidy -diff
	cd examples/embed && $(GO) mod tidy -diff
	cd cmd/taprouter/internal/clients && $(GO) mod tidy -diff && $(GO) vet ./...
	cd bench && $(GO) mod tidy -diff && $(GO) vet ./... && $(GO) tool -modfile=../internal/tools/go.mod staticcheck ./...
	cd router/control/store/etcd && $(GO) mod tidy -diff && $(GO) vet ./... && \
		$(GO) tool -modfile=../../../../internal/tools/go.mod staticcheck ./...
	$(MAKE) cross
	$(MAKE) test

# 32 bits find numbers that do not fit an int, s390x is big-endian; elsewhere labs and tests run, devices do not.
PLATFORMS := linux/386 linux/arm64 linux/s390x darwin/amd64 windows/amd64

.PHONY: cross
cross: ## Vet for the other platforms; what is not built yet takes a minute or two
	@set -e; for p in $(PLATFORMS); do echo "vet for $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./...; done

# What measures work in processor time is not for the race detector. The end-to-end tests come last and
# alone: they measure, too, and fill the machine.
.PHONY: test
test: ## All tests with the race detector; end to end too, as root
	$(RACE) -timeout 20m $$($(GO) list ./... | grep -v /internal/e2e)
	$(GO) test -run '^TestGrowth$$' ./config/file
	cd examples/embed && $(RACE) -timeout 5m ./...
	cd bench && $(GO) test -timeout 10m ./...
	cd router/control/store/etcd && $(RACE) -timeout 5m ./...
	cd cmd/taprouter/internal/clients && $(RACE) -timeout 5m ./...
	$(MAKE) e2e

.PHONY: e2e
e2e: ## End-to-end tests: the binary, TAPs and real tools in namespaces (root; others skip by name)
	$(GO) test -v -count=1 -timeout 20m ./internal/e2e

.PHONY: test-deps
test-deps: ## Install the Debian packages that the end-to-end tests use (root, or sudo)
	@set -e; as=; [ "$$(id -u)" = 0 ] || as="sudo -n"; \
	missing=; for p in $(DEPS); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then echo "test-deps: everything is installed"; exit 0; fi; \
	echo "test-deps: installing$$missing"; \
	had=; [ ! -e /usr/sbin/policy-rc.d ] || had=yes; \
	[ -n "$$had" ] || { printf '#!/bin/sh\nexit 101\n' | $$as tee /usr/sbin/policy-rc.d >/dev/null; $$as chmod +x /usr/sbin/policy-rc.d; }; \
	trap '[ -n "$$had" ] || $$as rm -f /usr/sbin/policy-rc.d' EXIT; \
	$$as apt-get update -q; \
	$$as env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	case "$$missing" in *" cloud-init"*) $$as touch /etc/cloud/cloud-init.disabled;; esac # it is not to set up this machine

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (60s)
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg; \
		done; \
	done

SHOTS ?= $(CURDIR)/examples/horizon/shots

.PHONY: horizon-shots
horizon-shots: ## The tutorial's clicks in Chromium, with a picture of each step in SHOTS (root; chromium, chromium-driver)
	rm -f $(SHOTS)/*.png
	TAPROUTER_SHOTS=$(SHOTS) $(GO) test -v -count=1 -timeout 10m -run '^TestHorizonShots$$' ./internal/e2e

.PHONY: horizon-fields
horizon-fields: ## The same clicks without a browser, with one field after another left out: each must fail (root)
	TAPROUTER_FIELDS=1 $(GO) test -v -count=1 -timeout 20m -run '^TestHorizonFields$$' ./internal/e2e

SOAKTIME ?= 10m

.PHONY: rates
rates: ## How many changes a second a large router makes, another tenant's round trips meanwhile, syncs (root)
	TAPROUTER_RATES=1 $(GO) test -v -count=1 -timeout 10m -run '^Test(ChangeRate|KeptRate|Metrics)$$' ./internal/e2e

.PHONY: pauses
pauses: ## How long a transfer pauses over restarts with a million connections (root)
	TAPROUTER_PAUSES=1 $(GO) test -v -count=1 -timeout 20m -run '^TestPauses$$' ./internal/e2e

.PHONY: systemd-test
systemd-test: ## The package under a systemd of its own: sandbox, restarts, upgrade, watchdog (root)
	$(GO) test -v -count=1 -timeout 10m -run '^TestSystemd$$' ./internal/e2e

.PHONY: soak
soak: ## Mixed real traffic over good and bad links for SOAKTIME (10m; root); nothing may be lost or left
	TAPROUTER_SOAK=$(SOAKTIME) $(GO) test -v -count=1 -timeout 60m -run '^TestSoak$$' ./internal/e2e

.PHONY: golden
golden: ## Write the golden files anew; explain the difference in the commit
	$(GO) test ./router -run Golden -update

.PHONY: bench
bench: ## Compare with the kernel and other routers (root, most of an hour); BENCHFLAGS="-help" lists more
	$(GO) run -C bench . -out results $(BENCHFLAGS)

.PHONY: bench-micro
bench-micro: ## Micro benchmarks
	$(GO) test -run '^$$' -bench . ./...

# Both sides in turn, so that the machine's moods fall on both.
.PHONY: bench-compare
bench-compare: ## Micro benchmarks of this tree against a revision: make bench-compare BASE=main
	@test -n "$(BASE)" || { echo 'say what to compare with: make bench-compare BASE=main'; exit 2; }
	@set -e; dir=$$(mktemp -d); trap 'git worktree remove --force $$dir/base; rm -rf $$dir' EXIT; \
	git worktree add -q --detach $$dir/base $(BASE); \
	for i in $$(seq $(COUNT)); do \
		echo "round $$i of $(COUNT)"; \
		(cd $$dir/base && $(GO) test -run '^$$' -bench '$(value BENCH)' $(BENCHPKGS)) >> $$dir/base.txt; \
		$(GO) test -run '^$$' -bench '$(value BENCH)' $(BENCHPKGS) >> $$dir/this.txt; \
	done; \
	$(TOOL) benchstat "$(BASE)=$$dir/base.txt" "this=$$dir/this.txt"

.PHONY: cover
cover: ## Test coverage, as a page
	$(GO) test -coverprofile=cover.out ./...
	$(GO) tool cover -html=cover.out

.PHONY: demo
demo: ## Play the lesson of the README
	$(GO) run ./cmd/taprouter lab examples/126-vip-behind-floating-ip.toml

.PHONY: clean
clean: ## Remove what was built
	rm -rf taprouter cover.out dist

.PHONY: help
help: ## This list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
