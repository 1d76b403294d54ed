# Shared by the scripts of this folder: where we are, and what the machine must have.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

# Debian's packages: libraries with their headers, and the programs that skills use.
packages=(
    libcurl4-openssl-dev libsqlite3-dev libssl-dev libyaml-dev libseccomp-dev librdkafka-dev libzstd-dev
    pkg-config bash coreutils python3 curl jq git openssl
)

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "Packages are missing, and this user may not install them. As root: apt-get install $*"
    fi
}

# need PACKAGE…: installs those that are not there.
need() {
    local missing=() package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *"ok installed"* ]] || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    command -v apt-get >/dev/null || die "These Debian packages are needed: ${missing[*]}"
    say "Installing ${missing[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

setup() {
    command -v swift >/dev/null || die "Swift 6.2 or later is needed: see swift.org/install"
    need "${packages[@]}"
}
