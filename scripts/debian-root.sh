#!/bin/bash
# The smallest Debian 12 in a folder, as root; one that is there stays:
#   scripts/debian-root.sh FOLDER
set -euo pipefail

folder=$(realpath -m "${1:?name a folder}")
[[ -e $folder/etc/os-release ]] && exit 0
"$(dirname "$(realpath "$0")")/apt-install.sh" mmdebstrap
mkdir -p "$(dirname "$folder")"
unfinished=$(mktemp -d "$folder.XXXX")
trap 'rm -rf "$unfinished"' EXIT
mmdebstrap --variant=minbase --quiet bookworm "$unfinished/root"
mv -T "$unfinished/root" "$folder"
