#!/bin/sh
# Installs or upgrades agent-vault on Linux and macOS:
#
#   curl --proto '=https' --tlsv1.2 -fsSL https://github.com/agent-vault/agent-vault/releases/latest/download/install.sh | sh
#
# AGENT_VAULT_VERSION       a version instead of the latest, such as 0.1.0
# AGENT_VAULT_INSTALL_DIR   where the binary goes; by default where an installed one is, else /usr/local/bin for root
#                           and ~/.local/bin for everybody else
# AGENT_VAULT_RELEASES_URL  another place with the same layout (https only)
#
# --restart     start the server again if it was running before an upgrade (--no-start, the default, leaves it stopped)
#
# The archive must match its SHA-256 in checksums.txt of the release. Nothing is reported to anybody.
set -eu

releases=${AGENT_VAULT_RELEASES_URL:-https://github.com/agent-vault/agent-vault/releases}
data="${HOME:?HOME must be set}/.agent-vault"

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

fetch() { curl --proto '=https' --proto-redir '=https' --tlsv1.2 -fsSL --retry 2 "$@"; }

require() {
  for tool in "$@"; do
    command -v "$tool" >/dev/null 2>&1 || die "$tool is needed and was not found"
  done
}

# linux_amd64, linux_arm64_musl, darwin_arm64 …
detect_platform() {
  case $(uname -s) in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) die "there is no build for $(uname -s); Linux and Darwin have one" ;;
  esac
  case $(uname -m) in
    x86_64 | amd64) arch=amd64 ;;
    arm64 | aarch64) arch=arm64 ;;
    *) die "there is no build for $(uname -m); x86_64 and arm64 have one" ;;
  esac
  if [ "$os" = linux ] && is_musl; then arch="${arch}_musl"; fi
  say "${os}_${arch}"
}

# musl's ldd names itself on standard error and fails.
is_musl() {
  if command -v ldd >/dev/null 2>&1; then
    ldd --version 2>&1 | grep -qi musl
  else
    ls /lib/ld-musl-* >/dev/null 2>&1
  fi
}

# The latest release is where releases/latest leads: .../releases/tag/v1.2.3
latest_version() {
  url=$(fetch -o /dev/null -w '%{url_effective}' "$releases/latest") || die "cannot ask $releases for the latest release"
  case $url in
    */tag/v?*) say "${url##*/tag/v}" ;;
    *) die "$releases names no latest release; AGENT_VAULT_VERSION=1.2.3 would pin one" ;;
  esac
}

verify_checksum() { # archive checksums
  name=$(basename "$1")
  wanted=$(awk -v name="$name" '$2 == name || $2 == "*" name { print $1 }' "$2")
  [ -n "$wanted" ] || die "checksums.txt does not name $name: not installed"
  if command -v sha256sum >/dev/null 2>&1; then
    actual=$(sha256sum "$1" | cut -d ' ' -f 1)
  else
    require shasum
    actual=$(shasum -a 256 "$1" | cut -d ' ' -f 1)
  fi
  [ "$wanted" = "$actual" ] || die "$name has SHA-256 $actual, checksums.txt says $wanted: not installed"
}

choose_directory() { # path of an installed binary, or nothing
  if [ -n "${AGENT_VAULT_INSTALL_DIR:-}" ]; then
    say "$AGENT_VAULT_INSTALL_DIR"
  elif [ -n "$1" ]; then
    dirname "$1"
  elif [ "$(id -u)" = 0 ]; then
    say /usr/local/bin
  else
    say "$HOME/.local/bin"
  fi
}

is_running() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

stop_server() { # path of the installed binary; says "stopped" if there was one
  [ -f "$data/agent-vault.pid" ] || return 0
  pid=$(tr -cd 0-9 <"$data/agent-vault.pid")
  is_running "$pid" || return 0
  say "Stopping the server (process $pid)" >&2
  "$1" server stop >&2 || warn "agent-vault server stop failed"
  tries=20
  while is_running "$pid" && [ "$tries" -gt 0 ]; do
    sleep 0.5
    tries=$((tries - 1))
  done
  if is_running "$pid"; then warn "process $pid is still running; it uses the old binary until it is restarted"; fi
  say stopped
}

back_up_database() { # says where
  [ -f "$data/agent-vault.db" ] || return 0
  backup="$data/agent-vault.db.backup-$(date +%Y%m%d-%H%M%S)"
  (
    umask 077
    cp "$data/agent-vault.db" "$backup"
    for part in wal shm; do
      if [ -f "$data/agent-vault.db-$part" ]; then cp "$data/agent-vault.db-$part" "$backup-$part"; fi
    done
  )
  say "$backup"
}

# Replaced in one step: a binary that is running cannot be written to, and a half-written one must never be found.
place() { # new binary, directory
  as=
  if ! mkdir -p "$2" 2>/dev/null || [ ! -w "$2" ]; then
    command -v sudo >/dev/null 2>&1 || die "cannot write to $2; AGENT_VAULT_INSTALL_DIR=DIR would install elsewhere"
    as=sudo
    $as mkdir -p "$2"
  fi
  $as cp "$1" "$2/.agent-vault.new"
  $as chmod 755 "$2/.agent-vault.new"
  $as mv -f "$2/.agent-vault.new" "$2/agent-vault"
}

main() {
  restart=no
  for argument in "$@"; do
    case $argument in
      --restart) restart=yes ;;
      --no-start) restart=no ;;
      *) die "unknown argument $argument; --restart and --no-start exist" ;;
    esac
  done
  case $releases in
    https://*) ;;
    *) die "AGENT_VAULT_RELEASES_URL must begin with https://" ;;
  esac
  require curl tar uname awk mktemp

  platform=$(detect_platform)
  installed=$(command -v agent-vault || true)
  if [ -z "$installed" ] && [ -x "${AGENT_VAULT_INSTALL_DIR:-/nowhere}/agent-vault" ]; then
    installed=$AGENT_VAULT_INSTALL_DIR/agent-vault
  fi
  previous=
  if [ -n "$installed" ]; then previous=$("$installed" --version 2>/dev/null | sed 's/^agent-vault version //' || true); fi
  directory=$(choose_directory "$installed")
  version=${AGENT_VAULT_VERSION:-$(latest_version)}
  version=${version#v}
  archive="agent-vault_${version}_${platform}.tar.gz"

  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' HUP INT TERM
  say "Downloading agent-vault $version ($platform)"
  fetch -o "$work/$archive" "$releases/download/v$version/$archive" || die "release $version has no $archive"
  fetch -o "$work/checksums.txt" "$releases/download/v$version/checksums.txt" ||
    die "release $version has no checksums.txt: not installed"
  verify_checksum "$work/$archive" "$work/checksums.txt"
  tar -xzf "$work/$archive" -C "$work"
  [ -f "$work/agent-vault" ] || die "$archive holds no agent-vault"

  stopped=
  backup=
  if [ -n "$installed" ]; then
    stopped=$(stop_server "$installed")
    backup=$(back_up_database)
  fi
  place "$work/agent-vault" "$directory"
  "$directory/agent-vault" version >/dev/null ||
    die "the new binary does not start${backup:+; the database before the upgrade is in $backup}"

  say "Installed agent-vault $version in $directory${previous:+ (before: $previous)}"
  if [ -n "$backup" ]; then say "Backup of the database: $backup"; fi
  case ":$PATH:" in
    *":$directory:"*) ;;
    *) say "Add $directory to your PATH to run it by its name" ;;
  esac
  if [ -n "$stopped" ]; then
    if [ "$restart" = yes ]; then
      "$directory/agent-vault" server -d
    else
      say "The server was stopped. To start it again: agent-vault server -d"
    fi
  fi
}

# Everything is in functions: a download that breaks off half way runs nothing.
main "$@"
