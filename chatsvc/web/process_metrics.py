"""What the system knows of a service's processes: memory, CPU, descriptors and their start."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric


def process_metrics(pids: list[int]) -> list[Metric]:
    """Return memory, CPU, descriptors and the start of processes, as the system knows them.

    `pids` are the processes by their numbers; 0 stands for one that isn't there. Where there are
    several, each has its number as the label `worker`: a sum of start times would mean nothing, and
    the number stays while process ids change. Systems without /proc have none of these metrics.
    """
    found: dict[str, Metric] = {}
    for number, pid in enumerate(pids):
        labels = {"worker": str(number)} if len(pids) > 1 else {}
        for metric in _process_metrics(pid) if pid else ():
            samples = [sample._replace(labels=labels) for sample in metric.samples]
            if metric.name in found:
                found[metric.name].samples += samples
            else:
                metric.samples = samples
                found[metric.name] = metric
    return list(found.values())


def _process_metrics(pid: int) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
