#!/bin/bash
# Makes a folder from which pero-worker is installed on machines without internet, of the same system and Python:
#   scripts/bundle.sh FOLDER [EXTRAS]         (EXTRAS: pero,rapidocr)
# It holds wheels of the program and of all that it needs; the models of the bundled pipelines are inside them. There:
#   FOLDER/install.sh /opt/pero-worker
set -euo pipefail

folder=$(realpath -m "${1:?name a folder that is not there yet}")
extras=${2:-pero,rapidocr}
python=${PYTHON:-python3}
here=$(dirname "$(dirname "$(realpath "$0")")")
torch_index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}

[[ ! -e $folder ]] || { echo "$folder is there already: remove it, or name another" >&2; exit 2; }
unfinished=$folder.unfinished
rm -rf "$unfinished"
mkdir -p "$unfinished/wheels"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m venv "$scratch/venv"

names=("$here[$extras]")
if [[ ,$extras, == *,pero,* ]]; then names=("${TORCH:-torch==2.13.0}" "${names[@]}"); fi
"$scratch/venv/bin/pip" wheel -q --no-cache-dir --disable-pip-version-check -w "$unfinished/wheels" \
    ${torch_index:+--extra-index-url "$torch_index"} "${names[@]}"

cat >"$unfinished/install.sh" <<END
#!/bin/bash
# Installs into a new virtual environment, from this folder alone:  install.sh TARGET
set -euo pipefail
here=\$(dirname "\$(realpath "\$0")")
target=\${1:?name the folder of the new environment}
(cd "\$here" && sha256sum --quiet -c SHA256SUMS)
\${PYTHON:-python3} -m venv "\$target"
env -u PIP_EXTRA_INDEX_URL -u PIP_FIND_LINKS -u PIP_CONSTRAINT PIP_CONFIG_FILE=/dev/null \\
    "\$target/bin/pip" install -q --no-index --find-links "\$here/wheels" --disable-pip-version-check 'pero-worker[$extras]'
"\$target/bin/pero-worker" --version
"\$target/bin/pero-worker" pipelines
END
chmod +x "$unfinished/install.sh"
(cd "$unfinished" && find wheels -type f -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS)
mv "$unfinished" "$folder"
du -sh "$folder"
