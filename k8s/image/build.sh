#!/usr/bin/env bash
# Build the image without a daemon, as localhost/go2cloud:TAG and, with QEMU in it, localhost/go2cloud:TAG-volumes.
#
#   TAG       default: the version of pyproject.toml
#   BASE      the base image; default: one made here of Debian's packages, so that no registry is needed
#   PINNED    yes: refuse a BASE that is not named by version and digest, as pipelines do that deliver
#   SUITE     Debian's release of that one (default: trixie, Python 3.13)
#   TARGETS   stages to build (default: service; "service volumes" for both)
#   GO2CLOUD_LAB   where layers are kept, see containers.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "${PINNED:-no}" = no ] || k8s/image/pinned.sh "${BASE:-}"
# shellcheck source=k8s/image/containers.sh
. k8s/image/containers.sh

TAG=${TAG:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
SUITE=${SUITE:-trixie}
LOCAL_BASE=localhost/go2cloud-base:$SUITE
CA=/etc/ssl/certs/ca-certificates.crt

# A minimal Debian with Python, as the official slim image is; some ten seconds.
make_base() {
    local tar=$lab/base-$SUITE.tar
    command -v mmdebstrap >/dev/null || missing mmdebstrap
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates "$SUITE" "$tar" >&2
    podman import --quiet "$tar" "$LOCAL_BASE" >/dev/null
    rm -f "$tar"
}

if [ -z "${BASE:-}" ]; then
    BASE=$LOCAL_BASE
    podman image exists "$BASE" || make_base
fi

build() {
    local stage=$1 image=localhost/go2cloud:$TAG
    [ "$stage" = service ] || image=$image-$stage
    # The mount gives pip this host's authorities while it builds, and leaves nothing in the image.
    buildah bud --quiet --isolation chroot --network host --layers --volume "$CA:$CA:ro" \
        --build-arg BASE="$BASE" --build-arg VERSION="$TAG" \
        --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
        --build-arg CREATED="$(git log -1 --format=%cI 2>/dev/null || echo unknown)" \
        --build-arg SOURCE="${SOURCE:-unknown}" \
        --target "$stage" --tag "$image" . >/dev/null
    echo "$image"
}

for stage in ${TARGETS:-service}; do
    build "$stage"
done
