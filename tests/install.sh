#!/bin/sh
# Installs the missing dependencies of a make target. usage: install.sh build|lint|test|fuzz|scan|bench
set -eu

# One line for each missing command: COMMAND:DEBIAN:FEDORA:HOMEBREW.
missing=""
need() {
  command -v "$1" >/dev/null 2>&1 || missing="$missing$1:$2:$3:$4
"
}

if ! command -v cargo >/dev/null 2>&1; then
  echo "Please install Rust 1.94 or later, with rustup or your system's packages, and try again." >&2
  exit 1
fi
need cmake cmake cmake cmake
need cc gcc gcc gcc
case "$1" in
lint | fuzz)
  # libFuzzer is C++.
  need c++ g++ gcc-c++ gcc
  ;;
esac
case "$1" in
lint | test)
  # Libraries that samael, a peer of the tests, links, and tools for its bindings.
  need pkg-config pkg-config pkgconf-pkg-config pkgconf
  need xmlsec1-config "libxmlsec1-dev libssl-dev" "xmlsec1-devel xmlsec1-openssl-devel openssl-devel" libxmlsec1
  ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib64/libclang.so* /opt/homebrew/opt/llvm/lib/libclang.* >/dev/null 2>&1 ||
    need libclang libclang-dev clang-devel llvm
  ;;
esac
case "$1" in
test)
  need chromedriver "chromium chromium-driver" "chromium chromedriver" chromedriver
  need curl curl curl curl
  # Version 2; there may be another one elsewhere.
  ls /usr/bin/aws >/dev/null 2>&1 || need aws-cli-2 awscli awscli2 awscli
  need jq jq jq jq
  need node nodejs nodejs node
  need npm npm npm node
  need python3 "python3 python3-venv" python3 python3
  python3 -c 'import ensurepip' >/dev/null 2>&1 || need python3-with-venv "python3 python3-venv" python3 python3
  need openssl openssl openssl openssl
  need nginx nginx nginx nginx
  need xmlsec1 xmlsec1 xmlsec1 libxmlsec1
  need php "php-cli php-xml php-mbstring php-curl" "php-cli php-xml php-mbstring" php
  ls /usr/share/simplesamlphp/www >/dev/null 2>&1 || need simplesamlphp simplesamlphp simplesamlphp simplesamlphp
  ls /usr/share/lemonldap-ng/portal/htdocs >/dev/null 2>&1 ||
    need lemonldap-ng "liblemonldap-ng-portal-perl libplack-perl liblasso-perl libxml-simple-perl libio-string-perl libstring-random-perl starman" \
      "lemonldap-ng-portal perl-Plack perl-lasso perl-Starman" lemonldap-ng
  need apache2 "apache2-bin libapache2-mod-auth-openidc" "httpd mod_auth_openidc" httpd
  ls /usr/lib/apache2/modules/mod_auth_openidc.so >/dev/null 2>&1 ||
    need mod_auth_openidc libapache2-mod-auth-openidc mod_auth_openidc httpd
  need haproxy haproxy haproxy haproxy
  need caddy caddy caddy caddy
  need prlimit util-linux util-linux util-linux
  need faketime faketime libfaketime libfaketime
  need slowhttptest slowhttptest slowhttptest slowhttptest
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql postgresql-server postgresql
  ;;
scan)
  need testssl testssl.sh testssl testssl
  need python3 "python3 python3-venv" python3 python3
  ;;
bench)
  need xmlsec1 xmlsec1 xmlsec1 libxmlsec1
  need nginx nginx nginx nginx
  need haproxy haproxy haproxy haproxy
  need apache2 "apache2-bin libapache2-mod-auth-openidc" "httpd mod_auth_openidc" httpd
  ls /usr/lib/apache2/modules/mod_auth_openidc.so >/dev/null 2>&1 ||
    need mod_auth_openidc libapache2-mod-auth-openidc mod_auth_openidc httpd
  need python3 "python3 python3-venv" python3 python3
  need taskset util-linux util-linux util-linux
  need openssl openssl openssl openssl
  need valgrind valgrind valgrind valgrind
  ;;
esac
[ -z "$missing" ] && exit 0

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
packages() { printf '%s' "$missing" | cut -d: -f"$1" | tr '\n' ' '; }

if command -v apt-get >/dev/null 2>&1; then
  as_root apt-get update -qq
  # shellcheck disable=SC2046
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(packages 2)
elif command -v dnf >/dev/null 2>&1; then
  # shellcheck disable=SC2046
  as_root dnf install -y -q $(packages 3)
elif command -v brew >/dev/null 2>&1; then
  # shellcheck disable=SC2046
  brew install --quiet $(packages 4)
else
  echo "Please install these commands, and try again:$(packages 1)" >&2
  exit 1
fi
