"""The machine: its cores, how busy they are, and its description for the reports."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cores:
    """The numbers of the cores of the server and of its load, and the nice value of both."""

    server: int
    client: int
    nice: int

    def place(self, core: int, *command: object) -> list[str]:
        """Return a command line that runs the command on one core only."""
        words = map(str, command)
        return ["nice", "-n", str(self.nice), "taskset", "-c", str(core), *words]

    def place_this_thread(self) -> None:
        """Run the calling thread on the load's core only, with the nice value."""
        os.sched_setaffinity(0, {self.client})
        os.setpriority(os.PRIO_PROCESS, 0, self.nice)


def _ticks(cpu: int) -> list[int]:
    lines = Path("/proc/stat").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"cpu{cpu} "))
    return [int(field) for field in line.split()[1:9]]


def core_seconds(cpu: int) -> float:
    """Return the seconds since boot in which any process or the kernel used a core."""
    user, nice, system, _idle, _iowait, irq, softirq, _steal = _ticks(cpu)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def stolen_seconds(cpu: int) -> float:
    """Return the seconds since boot in which the hypervisor gave a core to other machines."""
    return _ticks(cpu)[7] / os.sysconf("SC_CLK_TCK")


def idle_look(cores: Cores, seconds: float = 1.0) -> dict[str, float]:
    """Return the use of both cores, from 0 to 1, while no benchmark runs."""
    watched = {"server's": cores.server, "load's": cores.client}
    before = {name: core_seconds(cpu) for name, cpu in watched.items()}
    time.sleep(seconds)
    return {
        name: (core_seconds(cpu) - before[name]) / seconds
        for name, cpu in watched.items()
    }


def describe() -> dict[str, str | int | None]:
    """Return the CPU, kernel and Python that a table was measured with."""
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
