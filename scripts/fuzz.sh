#!/usr/bin/env bash
# Runs every fuzz target of the module for a short while: each `func FuzzX` of a *_test.go file, one after another.
#
#   scripts/fuzz.sh [COUNT]    COUNT is a value of go test's -fuzztime: 50000x (inputs) or 10s (time).
#
# It fails on the first target that finds an input that fails, and when there is no target at all.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=${1:-50000x}
found=0
while IFS=: read -r file func; do
  target=${func#func }
  found=$((found + 1))
  printf '== %s %s (%s)\n' "$(dirname "$file")" "$target" "$fuzztime"
  # -run='^$': the seeds have run as unit tests already.
  go test -run='^$' -fuzz="^${target}\$" -fuzztime="$fuzztime" -timeout=10m "./$(dirname "$file")" </dev/null
done < <(find . -name '*_test.go' -not -path './tools/*' -not -path '*/node_modules/*' -print0 |
  sort -z | xargs -0 grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed 's|^\./||')

if [ "$found" -eq 0 ]; then
  echo "fuzz: no fuzz target found" >&2
  exit 1
fi
printf 'fuzz: %d targets passed\n' "$found"
