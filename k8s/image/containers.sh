# Sourced by the scripts beside it: containers without a daemon, with all that they keep in one folder.
#
#   GO2CLOUD_LAB   that folder (default: ~/.cache/go2cloud)
#
# Needs the Debian packages that IMAGE_PACKAGES of the Makefile names; `make image` installs them.
# shellcheck shell=bash

lab=${GO2CLOUD_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/go2cloud}
mkdir -p "$lab"
export CONTAINERS_STORAGE_CONF=$lab/storage.conf CONTAINERS_CONF=$lab/containers.conf

cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
graphroot = "$lab/storage"
runroot = "$lab/run"
END

# The limits: a sandbox may not raise its own ("setrlimit: Operation not permitted"). runc, because crun refuses hosts
# that mount cgroups of both versions.
cat >"$CONTAINERS_CONF" <<'END'
[containers]
default_ulimits = ["nofile=8192:8192", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
END

missing() {
    echo "$0: $1 is not installed: run it by make, or apt-get install $1" >&2
    exit 1
}

for tool in buildah podman runc; do
    command -v "$tool" >/dev/null || missing "$tool"
done
