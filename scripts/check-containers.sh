#!/bin/bash
# Builds the container image with buildah, as root and without Docker, on a Debian made by mmdebstrap, and reads a page in it:
#   scripts/check-containers.sh FOLDER [BUILD_ARG=VALUE...]
# pip's own settings (PIP_FIND_LINKS, PIP_CERT ...) hold inside, too. Takes about 10 GB in FOLDER while it works.
set -euo pipefail

folder=$(realpath -m "${1:?name a folder with 10 GB of room}"); shift
here=$(dirname "$(dirname "$(realpath "$0")")")
"$here/scripts/apt-install.sh" buildah
mkdir -p "$folder"
build=(buildah --storage-driver vfs --root "$folder/storage" --runroot "$folder/run")
export BUILDAH_ISOLATION=chroot

"$here/scripts/debian-root.sh" "$folder/debian"
base=localhost/debian:bookworm
if ! "${build[@]}" images -q "$base" >/dev/null 2>&1; then
    container=$("${build[@]}" from scratch)
    "${build[@]}" copy -q "$container" "$folder/debian" / >/dev/null
    "${build[@]}" commit -q --rm "$container" "$base" >/dev/null
fi

arguments=(--build-arg "BASE=$base")
for word in "$@"; do arguments+=(--build-arg "$word"); done
# As a file: buildah's --env is for the image that comes out, not for the steps on the way.
inside=(-v "$folder/pip.conf:/etc/pip.conf:ro")
echo "[global]" >"$folder/pip.conf"
if [[ -n ${PIP_FIND_LINKS:-} ]]; then
    inside+=(-v "$(realpath "$PIP_FIND_LINKS"):/mnt/wheels:ro")
    echo "find-links = /mnt/wheels" >>"$folder/pip.conf"
    arguments+=(--build-arg TORCH_INDEX=)
fi
if [[ -n ${PIP_CERT:-} ]]; then
    inside+=(-v "$(realpath "$PIP_CERT"):/mnt/authorities.pem:ro")
    echo "cert = /mnt/authorities.pem" >>"$folder/pip.conf"
fi

"${build[@]}" bud --format docker "${arguments[@]}" "${inside[@]}" -f "$here/packaging/Containerfile" -t pero-worker "$here"

container=$("${build[@]}" from pero-worker)
trap '"${build[@]}" rm "$container" >/dev/null' EXIT
run() { "${build[@]}" run "$container" -- "$@"; }
echo "image: $("${build[@]}" images --format '{{.Size}}' pero-worker)"
[[ $(run id -u) == 10001 ]] || { echo "the image's user is root" >&2; exit 1; }
run pero-worker --version
run pero-worker engines
"${build[@]}" run -v "$here/build/demo/scans:/scans:ro" "$container" -- pero-worker ocr /scans/typewriter.png -o /data/text
run cat /data/text/typewriter.txt
