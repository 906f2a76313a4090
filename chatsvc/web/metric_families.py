"""The kinds of metrics: from the figures of all processes to what a scrape shows.

`chatsvc.web.metrics` says which metrics there are.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Sample

from chatsvc.web.figures import Figure, Kind, Record, Table

_INFINITY = "+Inf"


@dataclass(frozen=True)
class Family:
    """The description of one metric: all of it but its numbers."""

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...]
    """The names of its labels."""

    def metric(self, records: list[Record]) -> Metric:
        """Return the metric as the sum of the figures of all processes."""
        values: dict[tuple[str, ...], float] = {}
        created: dict[tuple[str, ...], float] = {}
        for record in records:
            labels, value = record.labels, record.figure.value
            before = values.get(labels, 0.0)
            is_peak = self.kind is Kind.PEAK
            values[labels] = max(before, value) if is_peak else before + value
            created[labels] = min(created.get(labels, record.created), record.created)
            if is_peak:
                record.figure.set(0.0)
        if self.kind is Kind.COUNTER:
            counter = CounterMetricFamily(self.name, self.help, labels=self.labels)
            for labels, value in values.items():
                counter.add_metric(labels, value, created[labels])
            return counter
        gauge = GaugeMetricFamily(self.name, self.help, labels=self.labels)
        for labels, value in values.items():
            gauge.add_metric(labels, value)
        return gauge


class LabelledFigures:
    """The figures of a metric that has labels."""

    __slots__ = ("_family", "_known", "_table")

    def __init__(self, family: Family, table: Table) -> None:
        self._family = family
        self._table = table
        self._known: dict[tuple[str, ...], Figure] = {}

    def labels(self, *values: str) -> Figure:
        """Return the figure for these values of the labels, in the order of their names."""
        if (figure := self._known.get(values)) is None:
            figure = self._table.figure(self._family.kind, self._family.name, *values)
            self._known[values] = figure
        return figure


class Histogram:
    """A histogram of one process: how many values lie below each of its bounds, and their sum."""

    def __init__(
        self, name: str, help: str, bounds: tuple[float, ...], table: Table
    ) -> None:
        self.name = name
        self._help = help
        self._bounds = bounds
        self._bucket_names = [*(str(float(bound)) for bound in bounds), _INFINITY]
        self._buckets = [
            table.figure(Kind.COUNTER, name, each) for each in self._bucket_names
        ]
        self._sum = table.figure(Kind.COUNTER, name, "sum")

    def observe(self, value: float) -> None:
        """Count a value."""
        self._buckets[bisect_left(self._bounds, value)].inc()
        self._sum.inc(value)

    def metric(self, records: list[Record]) -> Metric:
        """Return the histogram as the sum of those of all processes."""
        values = dict.fromkeys((*self._bucket_names, "sum"), 0.0)
        for record in records:
            values[record.labels[0]] += record.figure.value
        counts = accumulate(values[each] for each in self._bucket_names)
        buckets = list(zip(self._bucket_names, counts, strict=True))
        histogram = HistogramMetricFamily(self.name, self._help)
        histogram.add_metric((), buckets, values["sum"])
        created = min((record.created for record in records), default=time.time())
        histogram.samples.append(Sample(f"{self.name}_created", {}, created))
        return histogram
