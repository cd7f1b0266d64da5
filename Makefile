# go2cloud: `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export UV_SYSTEM_CERTS := 1
TOOLS := .tools
UV = $(shell command -v uv || echo $(TOOLS)/bin/uv)
PYTHON ?= python3
RUN = $(UV) run --frozen
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT := $(SUDO) apt-get -qq update && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends >/dev/null

# Debian packages of the real parts that the tests use; `make apt` installs those that are missing.
TEST_PACKAGES := gcc libc6-dev mariadb-server redis-server e2fsprogs xfsprogs btrfs-progs dosfstools fdisk util-linux mount \
  qemu-utils qemu-block-extra nbdkit libnbd-bin fuse3 fiu-utils gdisk shellcheck openssl \
  qemu-system-x86 seabios ovmf mtools \
  ceph-mon ceph-mgr ceph-osd radosgw ceph-common curl galera-4 rsync \
  python3-guestfs supermin linux-image-cloud-amd64 kmod cpio mmdebstrap \
  libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients iptables

# Tests without root share nothing, each process has services of its own: files of them run side by side.
SIDE_BY_SIDE := -n 4 --dist loadfile

# Tests with targets of their own, which `make test` leaves out.
OTHERS := $(foreach part,fleet cluster kubernetes launch/test_launch_rbd.py,--ignore=tests/$(part))

# Debian packages with which images are built and run without a daemon.
IMAGE_PACKAGES := buildah podman runc netavark aardvark-dns iptables uidmap mmdebstrap

# What a Kubernetes of one node is made of, beside its own programs (k8s/e2e/build.sh).
KUBERNETES_PACKAGES := etcd-server containerd conntrack ebtables socat containernetworking-plugins iproute2
KUBERNETES := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/go2cloud-kubernetes

# $(call install_missing,PACKAGES)
install_missing = missing=$$(for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then echo "installing:" $$missing; $(APT) $$missing; fi

# Every target with a caption is a name and no file.
.PHONY: $(shell sed -nE 's/^([a-z0-9-]+):.*\#\#.*/\1/p' $(MAKEFILE_LIST)) lint types rooms k8s version

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## Make the virtual environment from the lock file

# A compiler is for app/store/outboard.c; without one nothing fails, and the service takes longer for patches.
.venv/.ready: pyproject.toml uv.lock hatch_build.py app/store/outboard.c app/store/outboard_lanes.h
	@command -v $(CC) >/dev/null || { [ "$$(id -u)" = 0 ] && $(APT) gcc libc6-dev; } || echo "no C compiler: patches will cost more"
	@command -v uv >/dev/null || [ -x $(TOOLS)/bin/uv ] || $(MAKE) --no-print-directory $(TOOLS)/bin/uv
	$(UV) sync --frozen --quiet
	@touch $@

# uv comes from PyPI into a folder of its own; Debian keeps the module venv in a package of its own.
$(TOOLS)/bin/uv:
	@$(PYTHON) -m venv $(TOOLS) || { rm -rf $(TOOLS); $(APT) python3-venv && $(PYTHON) -m venv $(TOOLS); }
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv

apt: ## Install the Debian packages that the tests need
	@$(call install_missing,$(TEST_PACKAGES))

check: setup lint types rooms k8s ## Format, lint, types, import rules; the cluster's part when it changed

lint:
	$(RUN) ruff format --check --quiet .
	$(RUN) ruff check --quiet .

types:
	$(RUN) mypy

rooms:
	$(RUN) lint-imports

# Where nothing of it changed since it last passed, it takes a moment.
k8s:
	@UV=$(UV) SUDO=$(SUDO) k8s/checks/run.sh $(TOOLS)/k8s

k8s-check: setup ## Manifests, chart, alerts, pipelines and scripts against their schemas and linters
	UV=$(UV) SUDO=$(SUDO) k8s/checks/run.sh $(TOOLS)/k8s --always

k8s-tools-lock: setup ## Write the tools of k8s-check anew to k8s/checks/requirements.txt
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --custom-compile-command "make k8s-tools-lock" \
	  k8s/checks/requirements.in --output-file k8s/checks/requirements.txt

test: setup apt ## All tests: fast ones first, then those that need root or real services, then fault injection
	$(RUN) pytest $(SIDE_BY_SIDE) --ignore=tests/faults -m "not root and not service and not slow"
	$(RUN) pytest $(SIDE_BY_SIDE) $(OTHERS) --ignore=tests/faults -m "(service or slow) and not root and not guests"
	$(RUN) pytest $(SIDE_BY_SIDE) tests/faults -m "not root"
	$(RUN) pytest $(OTHERS) tests -m "root and not guests and not matrix"

test-fleet: setup apt ## Fifty agents at once beside a thousand that beat: minutes on two cores
	$(RUN) pytest tests/fleet

test-cluster: setup apt ## Two replicas of each role on Galera, Sentinel and one store, killed one after the other, and images in Ceph: six minutes
	$(RUN) pytest tests/cluster tests/launch/test_launch_rbd.py

test-guests: setup apt ## Whole systems (UEFI, XFS, btrfs, LVM, dracut) converted and booted, and cut over while they write: forty minutes
	$(RUN) pytest -m guests

test-faults: setup apt ## Fault injection: power cuts, failing I/O, kills, a hostile network, the protocol model
	$(RUN) pytest tests/faults -m "not matrix"

test-cutover: setup apt ## The whole crash matrix of a cutover, each cell with real processes and real QEMU: thirty-five minutes
	$(RUN) pytest tests/faults/cutover

test-fast: setup ## Only the tests that need neither root nor services
	$(RUN) pytest $(SIDE_BY_SIDE) --ignore=tests/faults -m "not root and not service and not slow"

MINUTES ?= 30
SEED ?= 10000

torture: setup apt ## Fault injection at length: MINUTES=30 SEED=10000
	$(RUN) python -m tests.torture --minutes $(MINUTES) --seed $(SEED)

fuzz: setup ## Fuzz the parsers of frames and packs by coverage: MINUTES=30
	$(UV) run --frozen --with atheris python -m tests.torture.store_parsers --minutes $(MINUTES)

demo: setup ## The main job end to end: replicate a disk, change it, replicate the delta, export, compare
	$(RUN) go2cloud demo

run: setup ## Start the service on SQLite and leave it up
	$(RUN) go2cloud serve --role all

# SIZE=4GiB RUNS=3 CASES=full,… LINKS=loopback,gbit DATA=realistic,random,zeros PEERS=go2cloud,… OUTPUT=file.json
# CHURN=1,5,20 SECONDS=30 CUT=60
BENCH_OPTIONS = $(foreach o,SIZE RUNS CASES LINKS DATA PEERS CHURN SECONDS CUT OUTPUT,$(if $($(o)),--$(shell echo $(o) | tr A-Z a-z) $($(o))))

bench: setup ## Measure replication, launches and cutovers against other tools (SIZE=, RUNS=, CASES=, LINKS=, DATA=, PEERS=, CHURN=, SECONDS=, CUT=, OUTPUT=)
	@missing=$$($(RUN) python -m bench --packages $(BENCH_OPTIONS)) || exit 1; \
	if [ -n "$$missing" ]; then echo "installing:" $$missing; \
	  $(SUDO) apt-get -qq update && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get -qq install -y --no-install-recommends $$missing >/dev/null; fi
	$(SUDO) .venv/bin/python -m bench $(BENCH_OPTIONS)

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE := localhost/go2cloud:$(VERSION)
export GO2CLOUD_LAB ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/go2cloud

version: ## Print the version of the program
	@echo $(VERSION)

image: ## Build the image and its variant with QEMU, without a daemon (BASE=, GO2CLOUD_LAB=)
	@$(call install_missing,$(IMAGE_PACKAGES))
	BASE=$(BASE) TARGETS="service volumes" k8s/image/build.sh

image-check: image setup ## Run the images as a cluster does: confined, in 512 MiB, drained by SIGTERM
	. k8s/image/containers.sh && $(RUN) python -m tests.deploy.image_check $(IMAGE) $(IMAGE)-volumes

e2e-k8s: image setup apt ## The three Deployments in a real Kubernetes, killed, rolled and changed under load (the first run builds it: 10 minutes)
	@$(call install_missing,$(KUBERNETES_PACKAGES))
	k8s/e2e/build.sh $(KUBERNETES)
	k8s/e2e/images.sh $(KUBERNETES)/images $(VERSION)
	$(RUN) pytest tests/kubernetes

sbom: image ## Write the bill of materials of both images to build/
	@mkdir -p build
	k8s/image/sbom.sh $(IMAGE) build/go2cloud-$(VERSION).cdx.json
	k8s/image/sbom.sh $(IMAGE)-volumes build/go2cloud-$(VERSION)-volumes.cdx.json

openapi: setup ## Write docs/openapi.json from the code
	$(RUN) python -m app openapi > docs/openapi.json

clean: ## Remove what setup and tests made
	rm -rf .venv $(TOOLS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist var
