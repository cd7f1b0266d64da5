#!/usr/bin/env bash
# Write the images that the end-to-end cluster runs as archives: both of ours, and one that only sleeps.
#
#   k8s/e2e/images.sh FOLDER TAG      after `make image`
set -euo pipefail

folder=${1:?the folder of the archives}
tag=${2:?the tag of the images}
# shellcheck source=k8s/image/containers.sh
. "$(dirname "$0")/../image/containers.sh"

mkdir -p "$folder"
if ! podman image exists localhost/pause:dev; then
    container=$(buildah from "localhost/go2cloud:$tag")
    buildah config --entrypoint '["sleep", "infinity"]' --cmd '[]' --user 65535 "$container"
    buildah commit --quiet --rm "$container" localhost/pause:dev >/dev/null
fi
for image in "go2cloud:$tag" "go2cloud:$tag-volumes" pause:dev; do
    archive=$folder/${image/:/-}.tar
    rm -f "$archive"
    podman save --quiet --format docker-archive --output "$archive" "localhost/$image"
done
