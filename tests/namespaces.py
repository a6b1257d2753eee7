"""Hosts on one machine: network namespaces on a bridge, each with an address of its own. Needs root and iproute2."""

import itertools
import os
import subprocess
from pathlib import Path

__all__ = ["Host", "Network"]

TAG = "mr"
NETWORKS = itertools.count()


def _ip(*arguments: str) -> str:
    """Run `ip`; a machine that forbids namespaces fails the test, and says so."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        raise AssertionError(f"ip {' '.join(arguments)}: {done.stderr.strip()} (network namespaces need root)")
    return done.stdout


class Host:
    """A namespace with one network interface. `prefix` goes before a command that shall run there."""

    def __init__(self, namespace: str, link: str, address: str) -> None:
        self.namespace = namespace
        self.address = address
        self._link = link
        self.prefix = ("ip", "netns", "exec", namespace)

    def cut(self) -> None:
        """Take its network away: nothing it sends arrives, nothing reaches it, and nobody is told."""
        _ip("-n", self.namespace, "link", "set", self._link, "down")

    def sysctl(self, file: Path) -> None:
        """Set the kernel's parameters as a file in the format of sysctl.conf says."""
        subprocess.run([*self.prefix, "sysctl", "-q", "-p", str(file)], check=True, timeout=10, capture_output=True)


class Network:
    """A bridge on which this process has the address `.1`, and its hosts; all are gone after `close`."""

    def __init__(self) -> None:
        self._sweep()
        number = next(NETWORKS)
        self._name = f"{TAG}{os.getpid()}{'abcdef'[number]}"
        self._subnet = f"10.{200 + number}.{os.getpid() % 256}"
        self.address = f"{self._subnet}.1"
        self.hosts: list[Host] = []
        _ip("link", "add", self._name, "type", "bridge")
        _ip("addr", "add", f"{self.address}/24", "dev", self._name)
        _ip("link", "set", self._name, "up")

    def host(self) -> Host:
        """One more host."""
        number = len(self.hosts) + 1
        namespace, link, port = f"{self._name}-{number}", "eth0", f"{self._name}{number}"
        host = Host(namespace, link, f"{self._subnet}.{10 + number}")
        _ip("netns", "add", namespace)
        self.hosts.append(host)
        _ip("link", "add", port, "type", "veth", "peer", "name", link, "netns", namespace)
        _ip("link", "set", port, "master", self._name, "up")
        _ip("-n", namespace, "addr", "add", f"{host.address}/24", "dev", link)
        _ip("-n", namespace, "link", "set", link, "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        return host

    def close(self) -> None:
        """Whatever runs there must have ended."""
        for number, host in enumerate(self.hosts, 1):
            # A namespace lives on while the kernel tries to close its connections; its link need not.
            _ip("link", "del", f"{self._name}{number}")
            _ip("netns", "del", host.namespace)
        _ip("link", "del", self._name)

    def _sweep(self) -> None:
        """Remove what a run that was killed left behind."""
        for line in _ip("netns", "list").splitlines():
            namespace = line.split()[0]
            owner, _, number = namespace.rpartition("-")
            if owner.startswith(TAG) and number.isdecimal() and not Path(f"/proc/{owner[len(TAG) : -1]}").exists():
                _ip("netns", "del", namespace)
                if Path(f"/sys/class/net/{owner}").exists():
                    _ip("link", "del", owner)
