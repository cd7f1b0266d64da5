#!/usr/bin/env bash
# Write the bill of materials of an image of build.sh: sbom.sh IMAGE OUTPUT.cdx.json
set -euo pipefail
if [ "$#" -ne 2 ]; then
    echo "usage: $0 IMAGE OUTPUT" >&2
    exit 2
fi
image=$1
output=$(realpath "$2")
cd "$(dirname "$0")/../.."
# shellcheck source=k8s/image/containers.sh
. k8s/image/containers.sh

podman run --rm --interactive --network=none --read-only --cap-drop=all "$image" python - \
    <k8s/image/sbom.py >"$output.part"
mv "$output.part" "$output"
echo "$output"
