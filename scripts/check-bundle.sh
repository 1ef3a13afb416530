#!/bin/bash
# Tries a bundle in an empty environment without a network, as root: installs it and reads a scan.
#   scripts/check-bundle.sh FOLDER SCAN
set -euo pipefail

folder=$(realpath "${1:?name the bundle}") scan=$(realpath "${2:?name a scan}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/home"
inside() { unshare --net env -i HOME="$scratch/home" PATH=/usr/local/bin:/usr/bin:/bin PYTHON="${PYTHON:-python3}" "$@"; }
if inside "${PYTHON:-python3}" -c 'import socket; socket.create_connection(("1.1.1.1", 53), 2)' 2>/dev/null; then
    echo "there is a network inside: nothing would be proved" >&2
    exit 1
fi
inside "$folder/install.sh" "$scratch/venv"
inside "$scratch/venv/bin/pero-worker" ocr "$scan" -o "$scratch/text"
head -3 "$scratch"/text/*.txt
du -sh "$scratch/venv"
