#!/bin/bash
# Installs the named Debian packages that are not here yet. With --unpack DIR it installs nothing:
# the packages' files go under DIR, which needs no root as long as apt's lists are there.
set -euo pipefail

fail() { echo "$0: $*" >&2; exit 1; }

unpack=
if [[ ${1:-} == --unpack ]]; then unpack=${2:?--unpack needs a folder}; shift 2; fi
(($#)) || fail "name at least one package"

missing=()
for package in "$@"; do
    if [[ $unpack ]]; then
        [[ -e $unpack/.got-$package ]] || missing+=("$package")
    elif [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
        missing+=("$package")
    fi
done
((${#missing[@]})) || exit 0

command -v apt-get >/dev/null || fail "no apt-get here: install ${missing[*]} by hand"
as_root=()
if ((EUID)); then
    if command -v sudo >/dev/null; then as_root=(sudo -n); else as_root=(false); fi
fi
apt() { DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 -o APT::Update::Error-Mode=any "$@"; }

install_missing() { apt install -y --no-install-recommends "${missing[@]}" >/dev/null; }

unpack_missing() (
    mkdir -p "$unpack"
    cd "$unpack"
    for package in "${missing[@]}"; do
        rm -f -- "$package"_*.deb
        apt-get -qq -o APT::Sandbox::User=root download "$package"
        dpkg-deb -x "$package"_*.deb .
        touch ".got-$package"
    done
)

act=install_missing
[[ -z $unpack ]] || act=unpack_missing

# The lists of a machine that has been used are mostly good enough; only when they are not, they are renewed.
$act 2>/dev/null && exit 0
apt update || fail "apt-get update did not work: run it as root, then run this again"
$act || fail "could not get ${missing[*]}: run 'apt-get install ${missing[*]}' as root, then run this again"
