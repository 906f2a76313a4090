"""The ways to reach a Redis, real ones on free ports of the loopback: TLS, Sentinel, Cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme
from redis import Redis
from redis.exceptions import RedisError

from tests.loopback import free_port
from tests.redis_server import RedisServer

WAIT = 30.0  # seconds: for what must happen, however slow the machine


def wait_until(there: Callable[[], bool], what: str) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + WAIT
    while True:
        try:
            if there():
                return
        except (RedisError, OSError):
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


class Tls:
    """The files with which servers speak TLS: a certificate of `authority` for the loopback, and its key."""

    def __init__(self, folder: Path, authority: trustme.CA) -> None:
        self._authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self._authority))
        mine = authority.issue_cert("127.0.0.1")
        self._certificate, self._key = folder / "certificate.pem", folder / "key.pem"
        mine.cert_chain_pems[0].write_to_path(str(self._certificate))
        mine.private_key_pem.write_to_path(str(self._key))

    def words(self, port: int) -> list[str]:
        """The options of a server that speaks TLS on `port`, also with other servers."""
        words = ["--tls-port", str(port), "--tls-auth-clients", "no"]
        words += ["--tls-cert-file", str(self._certificate)]
        words += ["--tls-key-file", str(self._key)]
        words += ["--tls-ca-cert-file", str(self._authority)]
        return [*words, "--tls-replication", "yes", "--tls-cluster", "yes"]

    @property
    def parameters(self) -> str:
        """The parameters of an address, for those who know the authority."""
        return f"ssl_ca_certs={self._authority}"


class TlsServer(RedisServer):
    """One server that speaks TLS on a second port, with a certificate of `authority`."""

    def __init__(self, folder: Path, authority: trustme.CA) -> None:
        self.tls_port = free_port()
        self.tls = Tls(folder, authority)
        super().__init__(folder, *self.tls.words(self.tls_port))

    @property
    def servers(self) -> list[RedisServer]:
        """All that have data."""
        return [self]

    @property
    def url(self) -> str:
        """Its address, for those who know its authority."""
        return self.address()

    def address(self, user: str = "", parameters: str = "") -> str:
        """Its address for a user ("name:password@"), with more parameters."""
        query = "&".join(filter(None, [self.tls.parameters, parameters]))
        return f"rediss://{user}127.0.0.1:{self.tls_port}/0?{query}"


class Sentinels:
    """A master, its replica, and a Sentinel that watches both; all by TLS if there are files for it."""

    def __init__(self, folder: Path, tls: Tls | None = None) -> None:
        self._tls = tls
        for name in ("master", "replica", "sentinel"):
            (folder / name).mkdir()
        self._tls_ports = [free_port() for _ in range(3)] if tls is not None else []
        words = [tls.words(port) for port in self._tls_ports] if tls else [[]] * 3
        self.master = RedisServer(
            folder / "master", "--repl-diskless-sync-delay", "0", *words[0]
        )
        at = self._tls_ports[0] if tls is not None else self.master.port
        of = ("--replicaof", f"127.0.0.1 {at}")
        self.replica = RedisServer(folder / "replica", *of, *words[1])
        self._plain_ports = {at: self.master.port, self.replica.port: self.replica.port}
        if tls is not None:
            self._plain_ports[self._tls_ports[1]] = self.replica.port
        configuration = folder / "sentinel" / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor mymaster 127.0.0.1 {at} 1\n"
            "sentinel down-after-milliseconds mymaster 1000\n"
            "sentinel failover-timeout mymaster 5000\n"
        )
        self.sentinel = RedisServer(folder / "sentinel", *words[2])
        self.sentinel.configuration = (str(configuration), "--sentinel")

    @property
    def servers(self) -> list[RedisServer]:
        """All that have data."""
        return [self.master, self.replica]

    @property
    def url(self) -> str:
        """The address of what the Sentinel watches."""
        return self.address()

    def address(self, user: str = "", parameters: str = "") -> str:
        """The same address for a user ("name:password@"), with more parameters."""
        scheme, port, query = "redis", self.sentinel.port, [parameters]
        if self._tls is not None:
            scheme, port = "rediss", self._tls_ports[2]
            query.append(self._tls.parameters)
        mark = "&".join(filter(None, query))
        return f"{scheme}+sentinel://{user}127.0.0.1:{port}/mymaster/0?{mark}".rstrip(
            "?"
        )

    def start(self) -> None:
        """Start all, and wait until the replica could take over."""
        for server in (self.master, self.replica, self.sentinel):
            server.start()
        with self._asking() as sentinel:
            wait_until(
                lambda: any(
                    replica["master-link-status"] == "ok"
                    for replica in sentinel.sentinel_slaves("mymaster")
                ),
                "the replica is not known",
            )
        with (
            Redis(port=self.master.port) as master,
            Redis(port=self.replica.port) as replica,
        ):
            master.set("here", "yes")
            wait_until(lambda: bool(replica.get("here")), "nothing is replicated")
            master.delete("here")

    def master_port(self) -> int:
        """Where the Sentinel says that the master is: its port without TLS."""
        with self._asking() as sentinel:
            port = int(sentinel.sentinel_get_master_addr_by_name("mymaster")[1])
            return self._plain_ports[port]

    async def fail_over(self) -> None:
        """Let the replica take over, and wait until the old master follows it."""
        before = await asyncio.to_thread(self.master_port)

        def failed_over() -> bool:
            with Redis(port=before, decode_responses=True) as old:
                return self.master_port() != before and old.role()[0] == "slave"

        with self._asking() as sentinel:
            wait_until(lambda: bool(sentinel.sentinel_failover("mymaster")), "refused")
        await asyncio.to_thread(wait_until, failed_over, "no failover")

    def _asking(self) -> Any:
        return Redis(port=self.sentinel.port, decode_responses=True)

    def stop(self) -> None:
        """End all."""
        for server in (self.sentinel, self.replica, self.master):
            server.stop()


class RedisCluster:
    """Three masters; a replica of each where `replicas` is 1; all by TLS if there are files for it."""

    def __init__(self, folder: Path, replicas: int = 0, tls: Tls | None = None) -> None:
        self._tls = tls
        self.servers: list[RedisServer] = []
        self._tls_ports: list[int] = []
        self.buses: list[int] = []  # the ports over which they speak with each other
        for number in range(3 + 3 * replicas):
            (folder / str(number)).mkdir()
            self.buses.append(free_port())
            words = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"]
            words += ["--cluster-port", str(self.buses[-1])]
            if tls is not None:
                self._tls_ports.append(free_port())
                words += tls.words(self._tls_ports[-1])
            self.servers.append(RedisServer(folder / str(number), *words))

    @property
    def url(self) -> str:
        """The address of one of them: it knows the others."""
        return self.address()

    def address(self, user: str = "", parameters: str = "") -> str:
        """The same address for a user ("name:password@"), with more parameters."""
        scheme, port, query = "redis", self.servers[0].port, [parameters]
        if self._tls is not None:
            scheme, port = "rediss", self._tls_ports[0]
            query.append(self._tls.parameters)
        mark = "&".join(filter(None, query))
        return f"{scheme}+cluster://{user}127.0.0.1:{port}?{mark}".rstrip("?")

    def start(self) -> None:
        """Start all, and make a cluster of them."""
        for server in self.servers:
            server.start()
        clients: list[Any] = [
            Redis(port=s.port, decode_responses=True) for s in self.servers
        ]
        for epoch, client in enumerate(clients, 1):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", epoch)
        ports = self._tls_ports or [server.port for server in self.servers]
        for port, bus in zip(ports[1:], self.buses[1:], strict=True):
            clients[0].cluster("MEET", "127.0.0.1", port, bus)
        edges = [0, 5461, 10923, 16384]
        for client, begin, end in zip(clients, edges, edges[1:], strict=False):
            client.execute_command("CLUSTER ADDSLOTSRANGE", begin, end - 1)
        for number, client in enumerate(clients[3:]):
            master = clients[number].execute_command("CLUSTER MYID")
            wait_until(
                lambda client=client, master=master: bool(  # type: ignore[misc]
                    client.execute_command("CLUSTER REPLICATE", master)
                ),
                "no replica",
            )
        for client in clients:
            wait_until(
                lambda client=client: client.cluster("INFO")["cluster_state"] == "ok",  # type: ignore[misc]
                "the cluster is not well",
            )
            if client in clients[3:]:
                wait_until(
                    lambda client=client: client.role()[3] == "connected",  # type: ignore[misc]
                    "a replica is not connected",
                )
        for client in clients:
            client.close()

    async def fail_over(self, number: int) -> None:
        """Let the replica of a master take over from it."""
        replica = self.servers[3 + number]

        def failed_over() -> bool:
            with Redis(port=replica.port, decode_responses=True) as client:
                return bool(client.role()[0] == "master")

        with Redis(port=replica.port, decode_responses=True) as client:
            client.cluster("FAILOVER")
        await asyncio.to_thread(wait_until, failed_over, "no failover")

    def stop(self) -> None:
        """End all."""
        for server in self.servers:
            server.stop()
