# mirrorlab. `make help` lists the targets; `sudo make lab` and `sudo make test` do all
# their own set-up on a fresh Debian or Ubuntu machine.

VENV   ?= .venv
PY     := $(VENV)/bin/python
LAB    := $(VENV)/bin/mirrorlab
PYTHON ?= python3
RUNS   ?= captures/runs
# Tests mostly wait: so many of their files side by side; 0: one after the other.
WORKERS ?= 2
SPREAD := -n $(WORKERS) --dist loadscope --no-loadscope-reorder
COUNT  ?= 20
KIND   ?= fastL4
MINUTES ?= 10
COMMIT ?= sync
HOW    ?= power-off

# What the lab needs from Debian. setup installs what is missing, and no more.
PACKAGES := iproute2 nftables iptables netbase ethtool wireshark-common tshark \
	openssh-client openssh-server inetutils-telnet inetutils-telnetd inetutils-inetd \
	vsftpd postgresql \
	libnetfilter-queue-dev gcc python3-dev python3-venv
# What the tests of the pages drive, where apt has it and no browser of the kind is there.
BROWSER := chromium-headless-shell
BROWSERS := $(BROWSER) chromium chromium-browser google-chrome

# The peers it is compared with; only `make differential` installs them.
PEERS := conntrackd conntrack haproxy
# OpenSSH's own regression scripts; only `make openssh` installs them.
SCRIPTS := openssh-tests

# A lab starts some twenty Python processes: each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup packages browser lab report shell test test-unit test-all kill-test chaos cleanup-proof openssh load fuzz bench bench-takeover bench-kick matrix results confusion differential wireshark lint man down doctor clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: packages $(VENV)/.installed ## Debian packages and the virtual environment (first run: minutes)

packages:
	@missing=$$(for p in $(PACKAGES) $(ALSO); do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    if [ "$$(id -u)" != 0 ]; then \
	        echo "missing Debian packages: $$missing" >&2; echo "run: sudo make setup" >&2; exit 3; fi; \
	    .ci/apt-install $$missing; fi

browser:
	@for b in $(BROWSERS); do command -v $$b > /dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && apt-cache show $(BROWSER) > /dev/null 2>&1; then \
	    .ci/apt-install $(BROWSER); fi

$(VENV)/.installed: pyproject.toml requirements/constraints.txt
	@echo "making $(VENV)" >&2
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint requirements/constraints.txt --editable '.[dev]'
	@touch $@
	@if [ -n "$$SUDO_UID" ]; then chown -R "$$SUDO_UID:$$SUDO_GID" $(VENV); fi

lab: setup ## run the article's experiment and say what happened, and why (root)
	@$(LAB) run article --output $(RUNS)

report: setup ## the newest run's page again, from its folder, and the index of all runs
	@$(LAB) report --runs $(RUNS)

shell: setup ## bring a lab up and open a shell in its client (root)
	@$(LAB) up && $(LAB) shell client; $(LAB) down

test: setup browser ## all tests that take seconds, and every built-in scenario end to end (root)
	@$(PY) -m pytest $(SPREAD)

test-unit: setup ## only what needs no root: a few seconds
	@$(PY) -m pytest -m 'not root and not e2e'

test-all: test ## test, and the longer ones: every scenario under every kind of failover (root)
	@$(PY) -m pytest $(SPREAD) --long -m long

# CAPTURES=1: every round recorded, each lost conversation judged; SLOW: of the mirroring
# channel, bits per second; RATE: of the bulk connection, bytes per second.
kill-test: setup ## failovers at random points of live traffic, every byte compared: COUNT COMMIT HOW CAPTURES SLOW RATE (root)
	@$(PY) -m emulator.lab.campaign.killtest --count $(COUNT) --commit $(COMMIT) --how $(HOW) \
	    $(if $(CAPTURES),--captures) $(if $(SLOW),--slow $(SLOW)) $(if $(RATE),--rate $(RATE))

# MINUTES instead of COUNT; SEED, WORLDS, FAULTS (lists with commas) as printed and named by
# `python -m emulator.lab.campaign.chaos --help`; docs/reliability.md.
chaos: setup ## random faults over live traffic, every byte compared: COUNT MINUTES SEED WORLDS FAULTS (root)
	@$(PY) -m emulator.lab.campaign.chaos $(if $(MINUTES),--minutes $(MINUTES),--count $(COUNT)) \
	    $(if $(SEED),--seed $(SEED)) $(if $(WORLDS),--worlds $(WORLDS)) $(if $(FAULTS),--faults $(FAULTS))

cleanup-proof: COUNT = 100
cleanup-proof: setup ## is anything left? labs killed at random and at every stage, full disks: COUNT SEED (root, an hour)
	@$(PY) -m emulator.lab.campaign.fulldisk
	@$(PY) -m emulator.lab.campaign.cleanstages
	@$(PY) -m emulator.lab.campaign.cleanup --count $(COUNT) $(if $(SEED),--seed $(SEED))

openssh: ALSO := $(SCRIPTS)
openssh: setup ## OpenSSH's own regression scripts through the pair, failovers during each: KIND (root, 40 minutes)
	@$(PY) -m emulator.lab.campaign.openssh --kind $(KIND)

load: setup ## 10,000 fastL4 and 2,000 standard connections, one power-off, every byte compared (root)
	@$(PY) -m bench.many

fuzz: setup ## every parser against bred input, findings saved: MINUTES
	@$(PY) -c 'import atheris' 2> /dev/null || $(PY) -m pip install --quiet --disable-pip-version-check \
	    --constraint requirements/constraints.txt --editable '.[fuzz]' || echo "without atheris: not guided" >&2
	@$(PY) -m tests.fuzz --minutes $(MINUTES)

# QUICK=1: fewer rounds, smaller numbers, without the matrix.
bench: ALSO := $(PEERS)
bench: setup ## side by side with the kernel, conntrackd, HAProxy: docs/performance.md QUICK (root, 20 minutes)
	@$(PY) -c 'import matplotlib' 2> /dev/null || $(PY) -m pip install --quiet --disable-pip-version-check \
	    --constraint requirements/constraints.txt --editable '.[bench]'
	@$(PY) bench/run.py --write $(if $(QUICK),--quick)

bench-takeover: setup ## what a takeover of 100 and 1000 connections costs (root)
	@$(PY) bench/takeover.py

bench-kick: setup ## what the takeover kick saves, for outages of 5, 20 and 45 s (root, 5 minutes)
	@$(PY) bench/kick.py

wireshark: setup ## install the Wireshark profile and dissector for yourself (without sudo)
	@$(LAB) wireshark

matrix: setup ## the survival table: SNAT x mirroring x virtual server (root, 3 minutes)
	@$(LAB) matrix --output $(RUNS)

results: setup ## the article's claims, answered by runs: docs/results.md (root, a quarter of an hour)
	@$(LAB) claims --output $(RUNS) --write docs

confusion: setup ## can the verdicts be trusted: causes planted against causes named (root, half an hour)
	@$(LAB) confusion --output $(RUNS)

differential: ALSO := $(PEERS)
differential: setup ## the same worlds with conntrackd and HAProxy; writes docs/differential.md (root, half an hour)
	@$(LAB) differential --output $(RUNS) --page docs/differential.md

lint: setup ## ruff, mypy --strict
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

man: setup ## docs/mirrorlab.1, from the commands' own help
	@$(LAB) man > docs/mirrorlab.1

doctor: setup ## what this host has and lacks
	@$(LAB) doctor

down: setup ## take every lab down, whatever is left of it (root)
	@$(LAB) down --all

clean: ## forget the virtual environment and the runs
	rm -rf $(VENV) $(RUNS)
