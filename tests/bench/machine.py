"""The machine's cores: who uses them, and what ran on it."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cores:
    """Where the server runs and where its load does, and how nice both are."""

    server: int
    client: int
    nice: int

    def place(self, core: int, *command: object) -> list[str]:
        """The command, to run on that core alone."""
        words = map(str, command)
        return ["nice", "-n", str(self.nice), "taskset", "-c", str(core), *words]


def _ticks(cpu: int) -> list[int]:
    lines = Path("/proc/stat").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"cpu{cpu} "))
    return [int(field) for field in line.split()[1:9]]


def core_seconds(cpu: int) -> float:
    """How long a core has been in use since boot, by anything."""
    user, nice, system, _idle, _iowait, irq, softirq, _steal = _ticks(cpu)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def stolen_seconds(cpu: int) -> float:
    """How long the hypervisor has let a core wait since boot."""
    return _ticks(cpu)[7] / os.sysconf("SC_CLK_TCK")


def idle_look(cores: Cores, seconds: float = 1.0) -> dict[str, float]:
    """How busy both cores are while nothing of ours runs: 0 to 1."""
    watched = {"server's": cores.server, "load's": cores.client}
    before = {name: core_seconds(cpu) for name, cpu in watched.items()}
    time.sleep(seconds)
    return {
        name: (core_seconds(cpu) - before[name]) / seconds
        for name, cpu in watched.items()
    }


def describe() -> dict[str, str | int | None]:
    """What a table was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (
        line.partition(":")[2].strip()
        for line in lines
        if line.startswith("model name")
    )
    return {
        "cpu": next(models, platform.machine()),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
