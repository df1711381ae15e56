#!/usr/bin/env bash
# Writes remote/remotev1 from the schema in remote/proto.
#
#   scripts/proto.sh             lint the schema and write the code
#   scripts/proto.sh --check     write nothing; fail if the schema is not clean, says other things to processes of the
#                                baseline than they know, or the committed code is not what it gives
#   scripts/proto.sh --baseline  take the schema as it is as the one that later versions must understand: at a release
#
# Needs go, node and npm. buf is the npm package pinned in tools/buf, the two generators are pinned in tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cmp -s tools/buf/package-lock.json tools/buf/node_modules/.lock; then
  (cd tools/buf && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null)
  cp tools/buf/package-lock.json tools/buf/node_modules/.lock
fi
buf=$PWD/tools/buf/node_modules/.bin/buf
export GOFLAGS='' # the generators' module is named on their command line

cd remote/proto
"$buf" lint
"$buf" build
case "${1-}" in
--check)
  "$buf" breaking --against baseline.binpb
  fresh=$(mktemp -d)
  trap 'rm -rf "$fresh"' EXIT
  "$buf" generate --output "$fresh/a/b" # the template's paths begin with ../..
  if ! diff -r --exclude=doc.go ../remotev1 "$fresh/remote/remotev1"; then
    echo "remote/remotev1 is not what remote/proto gives: run make proto" >&2
    exit 1
  fi
  ;;
--baseline) "$buf" build -o baseline.binpb ;;
'') "$buf" generate ;;
*)
  echo "usage: scripts/proto.sh [--check | --baseline]" >&2
  exit 2
  ;;
esac
