#!/bin/sh
# Checks the dependencies by deny.toml. usage: deny.sh CARGO_DENY
#
# Advisories come from a git repository. Where it cannot be fetched, the copy of an earlier fetch is used; where there
# is none, everything else is checked, and standard error has the reason.
set -eu
deny=$1
if reason=$("$deny" fetch db 2>&1); then
  exec "$deny" check
fi
printf '%s\n' "$reason" >&2
if ls -d "${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/*/.git >/dev/null 2>&1; then
  echo "cargo deny: cannot fetch the advisory database; using the copy of an earlier fetch" >&2
  exec "$deny" --offline check
fi
"$deny" check bans licenses sources
cat >&2 <<END
cargo deny: ADVISORIES WERE NOT CHECKED: cannot fetch the advisory database, and there is no copy of it
  help: run \`make lint\` on a machine that reaches its repository, or run \`cargo deny fetch db\` there and copy
  ~/.cargo/advisory-dbs here
END
