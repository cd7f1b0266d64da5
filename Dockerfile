# The image of all three roles. Build it from the repository's root:
#
#   make image                                 (buildah, without a daemon; BASE=… names another base)
#   docker build -t go2cloud:0.1.0 .
#   docker build -t go2cloud:0.1.0-volumes --target volumes .      (with QEMU: role agent where jobs use volumes)
#   docker run --read-only --tmpfs /tmp -v go2cloud-store:/data/store -v go2cloud-state:/data/state \
#     -p 8088:8088 go2cloud:0.1.0 all
#
# Another base needs Python 3.11 or newer with venv, useradd, and apt-get for the compiler and the stage volumes. A
# registry gives out other bytes under the same tag when it is built anew, so images that are delivered name the base by
# version and digest, --build-arg BASE=…/python:3.13.9-slim-trixie@sha256:…: the pipelines (.gitlab-ci.yml, Jenkinsfile)
# refuse others.
ARG BASE=docker.io/library/python:3.13.9-slim-trixie

FROM ${BASE} AS build
ARG UV_VERSION=0.13.9
ARG HATCHLING_VERSION=1.33.0
ENV UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /src

# First what changes seldom: exactly the locked dependencies, each held to its hash.
COPY pyproject.toml uv.lock ./
RUN python3 -m venv --without-pip /opt/go2cloud \
    && /opt/uv/bin/uv export --quiet --frozen --no-dev --no-emit-project --output-file requirements.txt \
    && /opt/uv/bin/uv pip install --python /opt/go2cloud/bin/python --require-hashes --no-deps \
        --compile-bytecode --requirement requirements.txt

# A compiler for what is written in C. Without a version: the base's release knows one.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*

# Then the wheel, which stands alone: nothing of /src goes on.
COPY README.md LICENSE hatch_build.py ./
COPY app app
RUN echo "hatchling==${HATCHLING_VERSION}" > constraints.txt \
    && /opt/uv/bin/uv build --wheel --build-constraint constraints.txt --out-dir dist \
    && /opt/uv/bin/uv pip install --python /opt/go2cloud/bin/python --no-deps --compile-bytecode dist/*.whl

FROM ${BASE} AS slim
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
ARG SOURCE=unknown
ARG BASE
LABEL org.opencontainers.image.title="go2cloud" \
      org.opencontainers.image.description="Self-hosted server migration: the roles platform, api and agent" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

# Settings that suit a container; a folder mounted at /data/config takes their place.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data/state --shell /usr/sbin/nologin go2cloud \
    && mkdir -p /data/config /data/store /data/state \
    && printf '%s\n' 'DATA_DIR: /data/state' 'HTTP_LISTEN_HOST: 0.0.0.0' 'STORE:' '  PATH: /data/store' \
        > /data/config/config.yaml \
    && chown 10001:10001 /data/store /data/state

COPY --from=build /opt/go2cloud /opt/go2cloud
COPY --chmod=0755 entrypoint.sh /usr/local/bin/entrypoint.sh

ENV PATH=/opt/go2cloud/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /data/state
USER 10001:10001
VOLUME ["/data/store", "/data/state"]
EXPOSE 8088 8004 8005
ENTRYPOINT ["entrypoint.sh"]
CMD ["all"]

# What jobs of role agent need that write volumes, start test machines and put images into Ceph (the programs `rbd` and
# `ceph`): two and a half times the size, so only there.
FROM slim AS volumes
USER 0:0
# Without versions: the newest security update of the base's release is wanted, and mirrors drop old ones.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ceph-common ovmf qemu-system-x86 qemu-utils seabios \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log
USER 10001:10001

# The last stage is what a build without --target makes.
FROM slim AS service
