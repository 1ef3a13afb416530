#!/bin/bash
# Starts a gateway, sends it a scan as any client of the PERO API does, prints the text, and stops it.
set -euo pipefail
bin=$1
scans=("$2"/*.png)
scan=${scans[0]}
folder=$(mktemp -d)
trap 'kill "${gateway:-}" 2>/dev/null; wait; rm -rf "$folder"' EXIT

"$bin/pero-worker" gateway --data "$folder" --port 0 >"$folder/address" 2>"$folder/log" &
gateway=$!
until url=$(sed -n 's/^listening on //p' "$folder/address") && [ -n "$url" ]; do
    kill -0 "$gateway" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
    sleep 0.2
done
key=$("$bin/pero-worker" keys add demo --data "$folder")
echo "a gateway at $url"

ask() { curl --silent --show-error --fail --header "api-key: $key" "$@"; }
request=$(ask --json '{"engine": 1, "images": {"page": null}}' "$url/post_processing_request" |
    "$bin/python" -c 'import json, sys; print(json.load(sys.stdin)["request_id"])')
echo "sending $scan"
ask --form "file=@$scan" "$url/upload_image/$request/page" >/dev/null
while ask "$url/request_status/$request" | grep -qE 'WAITING|PROCESSING'; do sleep 1; done
ask "$url/download_results/$request/page/txt"
