#!/usr/bin/env bash
# Fails when a function can be reached neither from the binary nor from a test.
# deadcode itself exits 0 whatever it finds.
set -euo pipefail
cd "$(dirname "$0")/.."

dead=$(go tool -modfile=tools/go.mod deadcode -test ./...)
if [ -n "$dead" ]; then
  printf '%s\n' "$dead" >&2
  echo "deadcode: the functions above are never called" >&2
  exit 1
fi
