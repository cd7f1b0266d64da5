"""A real Kubernetes of one node in a network namespace of its own; `k8s/e2e/build.sh` makes its programs."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.deployment import until
from tests.kubernetes import network
from tests.kubernetes.certificates import Certificates
from tests.services.processes import Service, required_binary

NAME = "node1"
PAUSE = "localhost/pause:dev"
READY_SECONDS = 180.0
ETCD = "http://127.0.0.1:2379"


@dataclass
class Node:
    """The cluster: started with images, spoken to by kubectl, and removed without a trace."""

    folder: Path
    programs: Path
    _services: list[Service] = field(default_factory=list)
    _before: set[Path] = field(default_factory=lambda: set(_namespaces()))

    @property
    def kubeconfig(self) -> Path:
        """The administrator's way in."""
        return self.folder / "kubeconfig"

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.folder / "containerd.sock"

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl as administrator; its output. Fails the test when it fails."""
        done = self.try_kubectl(*arguments, given=given)
        assert done.returncode == 0, f"kubectl {arguments} ended with {done.returncode}:\n{done.stderr}"
        return done.stdout

    def try_kubectl(self, *arguments: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run kubectl, which may fail."""
        command = [required_binary("kubectl", "kubectl"), *arguments]
        environment = dict(os.environ) | {"KUBECONFIG": str(self.kubeconfig)}
        return subprocess.run(
            command, input=given, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    def start(self, *images: Path) -> None:
        """Bring all parts up and import image archives; one of them is tagged as `PAUSE`."""
        network.make()
        certificates = Certificates(self.folder / "pki")
        certificates.make(network.NODE, "10.96.0.1", "127.0.0.1")
        self._write_kubeconfig(certificates)
        self._run("etcd", self._etcd(), self._answers("http://127.0.0.1:2379/health"))
        self._run("apiserver", self._apiserver(certificates), self._api_is_ready)
        self._run("containerd", self._containerd(), self.socket.exists)
        for image in images:
            subprocess.run(
                ["ctr", "-a", self.socket, "-n", "k8s.io", "images", "import", image],
                check=True,
                capture_output=True,
            )
        for name, command in (
            ("controllers", self._controllers(certificates)),
            ("scheduler", self._scheduler()),
            ("kubelet", self._kubelet(certificates)),
            ("proxy", self._proxy()),
        ):
            self._run(name, command, lambda: True)
        until(self._is_ready, READY_SECONDS, "the node is ready")

    def stop(self) -> None:
        """End everything, containers too, and remove what it made outside of its folder."""
        for service in reversed(self._services[3:]):
            service.stop()
        if self.socket.exists():
            self._end_containers()
        for service in reversed(self._services[:3]):
            service.stop()
        _unmount_below(self.folder)
        for pod in set(_namespaces()) - self._before:
            subprocess.run(["ip", "netns", "del", pod.name], check=True, capture_output=True)
        network.remove()
        shutil.rmtree(self.folder)

    def _run(self, name: str, command: list[str], is_ready: Callable[[], bool]) -> None:
        service = Service([*network.inside(), *command], self.folder / f"{name}.log", is_ready)
        service.start()
        self._services.append(service)

    def _end_containers(self) -> None:
        ctr = ["ctr", "-a", str(self.socket), "-n", "k8s.io"]
        for task in subprocess.run(
            [*ctr, "tasks", "ls", "-q"], capture_output=True, text=True, check=True
        ).stdout.split():
            subprocess.run([*ctr, "tasks", "kill", "-s", "9", task], capture_output=True, check=False)
            subprocess.run([*ctr, "tasks", "delete", "--force", task], capture_output=True, check=False)

    def _api_is_ready(self) -> bool:
        return self.try_kubectl("get", "--raw", "/readyz").returncode == 0

    def _is_ready(self) -> bool:
        found = self.try_kubectl("get", "node", NAME, "-o", "json")
        if found.returncode != 0:
            return False
        conditions = json.loads(found.stdout)["status"]["conditions"]
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _answers(self, url: str) -> Callable[[], bool]:
        command = [*network.inside(), "curl", "--silent", "--fail", url]
        return lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _write_kubeconfig(self, certificates: Certificates) -> None:
        def config(*arguments: str) -> None:
            self.kubectl("config", *arguments)

        ca = certificates.file("ca.crt")
        config("set-cluster", "e2e", f"--server=https://{network.NODE}:6443", f"--certificate-authority={ca}")
        key, certificate = certificates.file("admin.key"), certificates.file("admin.crt")
        config("set-credentials", "admin", f"--client-certificate={certificate}", f"--client-key={key}")
        config("set-context", "e2e", "--cluster=e2e", "--user=admin")
        config("use-context", "e2e")

    def _etcd(self) -> list[str]:
        peers = "http://127.0.0.1:2380"
        urls = ["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD, "--listen-peer-urls", peers]
        program = required_binary("etcd", "etcd-server")
        return [program, "--data-dir", str(self.folder / "etcd"), *urls, "--unsafe-no-fsync"]

    def _apiserver(self, certificates: Certificates) -> list[str]:
        file = certificates.file
        return [
            str(self.programs / "kube-apiserver"),
            f"--bind-address={network.NODE}",
            f"--advertise-address={network.NODE}",
            "--secure-port=6443",
            "--insecure-port=0",
            f"--etcd-servers={ETCD}",
            f"--client-ca-file={file('ca.crt')}",
            f"--tls-cert-file={file('api.crt')}",
            f"--tls-private-key-file={file('api.key')}",
            f"--service-account-key-file={file('accounts.pub')}",
            f"--service-account-signing-key-file={file('accounts.key')}",
            f"--service-account-issuer=https://{network.NODE}:6443",
            "--authorization-mode=Node,RBAC",
            f"--service-cluster-ip-range={network.SERVICES}",
            f"--kubelet-client-certificate={file('admin.crt')}",
            f"--kubelet-client-key={file('admin.key')}",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _controllers(self, certificates: Certificates) -> list[str]:
        return [
            str(self.programs / "kube-controller-manager"),
            "--bind-address=127.0.0.1",
            "--port=0",
            f"--kubeconfig={self.kubeconfig}",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={certificates.file('accounts.key')}",
            f"--root-ca-file={certificates.file('ca.crt')}",
            "--leader-elect=false",
        ]

    def _scheduler(self) -> list[str]:
        program = str(self.programs / "kube-scheduler")
        return [
            program,
            "--bind-address=127.0.0.1",
            "--port=0",
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
        ]

    def _containerd(self) -> list[str]:
        """Its address family of sockets has room for 100 characters: the folder's name is short."""
        networks = self.folder / "cni"
        networks.mkdir()
        ranges = [[{"subnet": network.PODS}]]
        ipam = {
            "type": "host-local",
            "dataDir": str(self.folder / "ipam"),
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipMasq": False}
        plan = {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge | {"ipam": ipam}]}
        (networks / "10-pods.conflist").write_text(json.dumps(plan))
        configuration = self.folder / "containerd.toml"
        configuration.write_text(f"""version = 2
root = "{self.folder}/root"
state = "{self.folder}/state"
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{networks}"
""")
        return [required_binary("containerd", "containerd"), "-c", str(configuration)]

    def _kubelet(self, certificates: Certificates) -> list[str]:
        configuration = self.folder / "kubelet.json"
        authentication = {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": certificates.file("ca.crt")},
        }
        settings = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": network.NODE,
            "readOnlyPort": 0,
            "healthzPort": 0,
            "cgroupDriver": "cgroupfs",
            "failSwapOn": False,
            "authentication": authentication,
            "authorization": {"mode": "AlwaysAllow"},
            "clusterDomain": "cluster.local",
            "clusterDNS": [network.NODE],
            "oomScoreAdj": 0,
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {"memory.available": "1Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        }
        configuration.write_text(json.dumps(settings))
        folder = self.folder / "kubelet"
        return [
            str(self.programs / "kubelet"),
            f"--config={configuration}",
            f"--kubeconfig={self.kubeconfig}",
            "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{self.socket}",
            f"--root-dir={folder}",
            f"--cert-dir={folder / 'pki'}",
            f"--hostname-override={NAME}",
            f"--node-ip={network.NODE}",
        ]

    def _proxy(self) -> list[str]:
        return [
            str(self.programs / "kube-proxy"),
            f"--kubeconfig={self.kubeconfig}",
            f"--hostname-override={NAME}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={network.PODS}",
            "--bind-address=127.0.0.1",
            "--metrics-bind-address=127.0.0.1:10249",
            "--healthz-bind-address=127.0.0.1:10256",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ]


@contextmanager
def running_node(folder: Path, programs: Path, *images: Path) -> Iterator[Node]:
    """A cluster in a new folder, removed at the end whatever happens."""
    folder.mkdir(parents=True)
    node = Node(folder, programs)
    try:
        node.start(*images)
        yield node
    finally:
        node.stop()


def _namespaces() -> Iterator[Path]:
    """The network namespaces of pods."""
    return Path("/run/netns").glob("cni-*")


def _unmount_below(folder: Path) -> None:
    """Volumes and layers of pods, the deepest first."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in sorted((place for place in mounts if place.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", place], check=True, capture_output=True)
