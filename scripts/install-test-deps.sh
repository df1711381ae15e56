#!/usr/bin/env bash
# Installs what `make test` needs beside Go and Node, on Debian or Ubuntu, and only what is missing:
# a C compiler (the race detector), redis-server and chromium (integration tests), promtool (rules and metrics), the npm packages of test/clients.
# It changes nothing when everything is there, so that it also runs without root and without a network.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'install: %s\n' "$*" >&2; }

need_major() { # need_major TOOL HAVE WANT
  if [ "${2%%.*}" -lt "$3" ]; then
    say "$1: have version $2, want $3 or later"
    exit 1
  fi
}

command -v go >/dev/null || { say "go: not found; install Go 1.26 or later, https://go.dev/doc/install"; exit 1; }
command -v node >/dev/null || { say "node: not found; install Node.js 20 or later with npm"; exit 1; }
command -v npm >/dev/null || { say "npm: not found; it comes with Node.js"; exit 1; }
node_version=$(node --version)
need_major node "${node_version#v}" 20

packages=()
command -v gcc >/dev/null || packages+=(gcc libc6-dev)
command -v redis-server >/dev/null || packages+=(redis-server)
command -v promtool >/dev/null || packages+=(prometheus)
command -v chromium >/dev/null || command -v google-chrome >/dev/null || packages+=(chromium)

if [ ${#packages[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || { say "missing: ${packages[*]}; there is no apt-get here, install them by hand"; exit 1; }
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "missing: ${packages[*]}; neither root nor sudo, install them by hand"; exit 1; }
    as_root=(sudo)
  fi
  # RUNLEVEL=1: the packages' scripts start no daemon; tests start their own on a free port.
  apt_install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
      apt-get install --yes --quiet --no-install-recommends "${packages[@]}" </dev/null
  }
  say "apt-get install ${packages[*]}"
  # The package lists may be missing or too old: refresh them only then.
  if ! apt_install; then
    "${as_root[@]}" apt-get update --quiet </dev/null
    apt_install
  fi
fi

# `npm ci` again only when the lock file is newer than what is installed.
if [ ! -e test/clients/node_modules/.package-lock.json ] ||
  [ test/clients/package-lock.json -nt test/clients/node_modules/.package-lock.json ]; then
  say "npm ci in test/clients"
  (cd test/clients && npm ci --no-audit --no-fund --loglevel=error </dev/null)
fi
