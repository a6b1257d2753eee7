"""What contrib/deploy ships is read by the programs it is for, and agrees with the relay's settings."""

import argparse
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.quantities import SECONDS
from relay.settings import Settings, add_arguments, load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "contrib" / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
SERVER_GRACE = 3.0
"""Seconds that a supervisor gives a worker beyond drain_timeout."""


def documents() -> dict[str, Any]:
    """Every object of the manifests by kind and name."""
    found = [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text()) if one]
    return {f"{one['kind']}/{one.get('metadata', {}).get('name', '')}": one for one in found}


def settings(env: dict[str, str], *flags: str) -> Settings:
    """The relay reads them: an unknown or contradictory one fails."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return load(parser.parse_args(flags), env, ROOT / "tests")


def seconds(text: str) -> float:
    return float(SECONDS.read(text))


def test_nginx(tmp_path: Path) -> None:
    """nginx takes the configuration as it is."""
    assert shutil.which("nginx"), "nginx is needed: apt-get install nginx-light"
    shutil.copytree(DEPLOY / "nginx", tmp_path / "nginx")
    conf = tmp_path / "nginx" / "nginx.conf"
    here = f"pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
    done = subprocess.run(
        ["nginx", "-t", "-p", tmp_path, "-c", conf, "-g", here], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_nginx_waits_longer_than_the_relay() -> None:
    """A silent client is the relay's to ping and to drop, not the proxy's."""
    conf = (DEPLOY / "nginx" / "nginx.conf").read_text()
    timeouts = {name: seconds(value) for name, value in re.findall(r"proxy_(read|send)_timeout +(\w+);", conf)}
    assert timeouts.keys() == {"read", "send"}
    assert min(timeouts.values()) > 2 * Settings().keepalive
    annotations = documents()["Ingress/relay"]["metadata"]["annotations"]
    for name, value in timeouts.items():
        assert float(annotations[f"nginx.ingress.kubernetes.io/proxy-{name}-timeout"]) == value


def test_nginx_hides_what_is_for_operators() -> None:
    """Health and metrics of a single relay mean nothing behind a balancer, and are nobody else's business."""
    conf = (DEPLOY / "nginx" / "nginx.conf").read_text()
    assert set(re.findall(r"location = (\S+)\s+{ return 404; }", conf)) == {"/metrics", "/livez", "/readyz"}


def test_kustomization() -> None:
    """Every manifest is in it, and parses."""
    listed = documents()["Kustomization/"]["resources"]
    assert {*listed, "kustomization.yaml"} == {path.name for path in MANIFESTS}


def test_deployment() -> None:
    """The relay takes its settings; it is killed only after it could drain; probes and services find their ports."""
    found = documents()
    pod = found["Deployment/relay"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    env = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    read = settings(env, *container["args"][1:])
    assert container["args"][0] == "serve"
    assert read.authenticated
    [*_, pause] = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] > float(pause) + read.drain_timeout + SERVER_GRACE
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"relay": read.port, "admin": read.admin_port}
    for probe, path in (("startup", "/readyz"), ("readiness", "/readyz"), ("liveness", "/livez")):
        assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "admin"}
    for service in ("relay", "relay-admin"):
        for port in found[f"Service/{service}"]["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]]


def test_selectors() -> None:
    """Services, budget, policy and scaling are about the pods there are."""
    found = documents()
    labels = found["Deployment/relay"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        found["Deployment/relay"]["spec"]["selector"]["matchLabels"],
        found["Service/relay"]["spec"]["selector"],
        found["Service/relay-admin"]["spec"]["selector"],
        found["PodDisruptionBudget/relay"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy/relay"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert selectors == [labels] * len(selectors)
    assert found["Service/relay"]["spec"]["clusterIP"] == "None"
    scaling = found["HorizontalPodAutoscaler/relay"]["spec"]
    assert scaling["scaleTargetRef"]["name"] == "relay"
    assert scaling["minReplicas"] >= 2
    assert found["PodDisruptionBudget/relay"]["spec"]["maxUnavailable"] == 1


def test_pods_metric_exists() -> None:
    """What scaling asks for is a metric of the relay."""
    metrics = documents()["HorizontalPodAutoscaler/relay"]["spec"]["metrics"]
    [name] = [one["pods"]["metric"]["name"] for one in metrics if one["type"] == "Pods"]
    assert f"`{name}`" in (ROOT / "contrib" / "metrics.md").read_text()


def test_compose() -> None:
    """Both relays take their settings, have time to drain, and are the ones that nginx is told of."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    relays = {name: one for name, one in compose["services"].items() if name.startswith("relay-")}
    for relay in relays.values():
        read = settings(relay["environment"], *relay["command"][1:])
        assert read.database_url
        assert read.redis_url
        assert seconds(relay["stop_grace_period"]) > read.drain_timeout + SERVER_GRACE
        build = (DEPLOY / relay["build"]["context"]).resolve()
        assert build == ROOT
        assert (build / relay["build"]["dockerfile"]).is_file()
    upstreams = re.findall(r"server (\S+):8080 ", compose["configs"]["upstreams"]["content"])
    assert upstreams == list(relays)
    kernel = (DEPLOY / "nginx" / "sysctl.conf").read_text()
    for name, value in compose["services"]["nginx"]["sysctls"].items():
        assert f"{name} = {value}\n" in kernel


def test_systemd() -> None:
    """The unit's command is one the relay takes, and is stopped only after it could drain."""
    unit = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "relay.service").read_text(), re.MULTILINE))
    program, command, *flags = shlex.split(unit["ExecStart"])
    assert (Path(program).name, command) == ("relay", "serve")
    read = settings({"RELAY_OPEN": "true"}, *flags)
    assert float(unit["TimeoutStopSec"]) > read.drain_timeout + SERVER_GRACE
    assert unit["KillMode"] == "mixed"


def test_dockerfile() -> None:
    """The relay is the container's first process: a shell would keep SIGTERM to itself."""
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("ENTRYPOINT")] == ['ENTRYPOINT ["/opt/relay/bin/relay"]']


@pytest.mark.parametrize("file", ["upstreams.conf", "nginx.conf"])
def test_two_relays_are_one_upstream(file: str) -> None:
    """The room is hashed consistently, and a relay that fails is left alone for a moment."""
    text = (DEPLOY / "nginx" / file).read_text()
    if file == "nginx.conf":
        assert "hash $relay_room consistent;" in text
    else:
        servers = re.findall(r"^server \S+ (.*);$", text, re.MULTILINE)
        assert len(servers) == 2
        assert all("max_fails=1" in server and "fail_timeout=" in server for server in servers)
