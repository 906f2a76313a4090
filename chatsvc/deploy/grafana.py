"""The dashboard of Grafana for the service's metrics: `chatsvc deploy grafana`.

The dashboard is JSON of Grafana's schema 39 (Grafana 10 and later). It asks for its data source
when it is imported, and has a choice of the job and of the instances.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from chatsvc.deploy.plan import Plan

SCHEMA_VERSION = 39
"""The version of the schema that the dashboard is written in; later Grafanas convert it."""

_COLUMNS = 24  # of Grafana's grid
_WIDTH, _HEIGHT = 8, 8
_SELECTOR = 'job=~"$job",instance=~"$instance"'


class Panel(NamedTuple):
    """One graph: a title, what it tells, its unit, and its queries with the legend of each.

    `S` stands in a query for the chosen job and instances.
    """

    title: str
    tells: str
    unit: str
    queries: tuple[tuple[str, str], ...]


PANELS = {
    "What people get": (
        Panel(
            "Replies that run",
            "Replies that are produced now, by node.",
            "short",
            (("sum by (instance) (chatsvc_replies_running{S})", "{{instance}}"),),
        ),
        Panel(
            "Readers",
            "Streams, sockets and polls that are open now, by transport.",
            "short",
            (("sum by (transport) (chatsvc_readers{S})", "{{transport}}"),),
        ),
        Panel(
            "Replies started and ended",
            "Begun here, and ended by state: failed should be rare.",
            "reqps",
            (
                (
                    "sum(rate(chatsvc_replies_started_total{S}[$__rate_interval]))",
                    "started",
                ),
                (
                    "sum by (state, finish_reason) (rate(chatsvc_replies_ended_total{S}[$__rate_interval]))",
                    "{{state}} {{finish_reason}}",
                ),
            ),
        ),
        Panel(
            "Time to the first character",
            "From the start of a reply, as the backend makes it.",
            "s",
            tuple(
                (
                    f"histogram_quantile({share}, sum by (le) (rate(chatsvc_first_character_seconds_bucket{{S}}[$__rate_interval])))",
                    f"p{share * 100:.0f}",
                )
                for share in (0.5, 0.95, 0.99)
            ),
        ),
        Panel(
            "Characters",
            "Code points of the replies that ended.",
            "cps",
            (
                (
                    "sum(rate(chatsvc_characters_total{S}[$__rate_interval]))",
                    "characters",
                ),
            ),
        ),
        Panel(
            "Resumed streams",
            "Streams that went on inside a reply, by transport: many mean that something cuts them.",
            "reqps",
            (
                (
                    "sum by (transport) (rate(chatsvc_resumes_total{S}[$__rate_interval]))",
                    "{{transport}}",
                ),
            ),
        ),
    ),
    "What goes wrong": (
        Panel(
            "Failures of the backend",
            "Replies that failed because of it, by reason.",
            "reqps",
            (
                (
                    "sum by (reason) (rate(chatsvc_backend_failures_total{S}[$__rate_interval]))",
                    "{{reason}}",
                ),
            ),
        ),
        Panel(
            "Failures of the store",
            "Requests to Redis that failed, also if a repetition went well, by reason.",
            "reqps",
            (
                (
                    "sum by (reason) (rate(chatsvc_store_failures_total{S}[$__rate_interval]))",
                    "{{reason}}",
                ),
            ),
        ),
        Panel(
            "Refused requests",
            "Answers that are problems, by code.",
            "reqps",
            (
                (
                    "sum by (code) (rate(chatsvc_refusals_total{S}[$__rate_interval]))",
                    "{{code}}",
                ),
            ),
        ),
        Panel(
            "Limits of clients",
            "Requests, frames and connections beyond a limit of their client, by limit.",
            "reqps",
            (
                (
                    "sum by (limit) (rate(chatsvc_limit_refusals_total{S}[$__rate_interval]))",
                    "{{limit}}",
                ),
            ),
        ),
        Panel(
            "Connections that were cut",
            "Ended because of what their clients did, by reason.",
            "cps",
            (
                (
                    "sum by (reason) (rate(chatsvc_connections_cut_total{S}[$__rate_interval]))",
                    "{{reason}}",
                ),
            ),
        ),
        Panel(
            "Stalls of the event loop",
            "The longest since the last scrape: while the loop is held, nobody gets a character.",
            "s",
            (
                (
                    "max by (instance) (chatsvc_loop_longest_stall_seconds{S})",
                    "{{instance}}",
                ),
            ),
        ),
    ),
    "What it takes": (
        Panel(
            "Memory that counts",
            "Bytes that count against --max-memory, by what holds them, and the limit.",
            "bytes",
            (
                ("sum by (kind) (chatsvc_memory_bytes{S})", "{{kind}}"),
                ("sum(chatsvc_memory_limit_bytes{S})", "limit"),
            ),
        ),
        Panel(
            "Memory of the processes",
            "Resident memory, by node and worker.",
            "bytes",
            (("process_resident_memory_bytes{S}", "{{instance}} {{worker}}"),),
        ),
        Panel(
            "CPU",
            "Cores that are busy, by node and worker.",
            "short",
            (
                (
                    "rate(process_cpu_seconds_total{S}[$__rate_interval])",
                    "{{instance}} {{worker}}",
                ),
            ),
        ),
        Panel(
            "File descriptors",
            "Those that are open, as a share of those that there may be.",
            "percentunit",
            (("process_open_fds{S} / process_max_fds{S}", "{{instance}} {{worker}}"),),
        ),
        Panel(
            "Refused for want of descriptors",
            "Connections and replies.",
            "reqps",
            (
                (
                    "sum by (instance) (rate(chatsvc_descriptor_refusals_total{S}[$__rate_interval]))",
                    "{{instance}}",
                ),
            ),
        ),
        Panel(
            "Versions",
            "How many nodes run which version.",
            "short",
            (
                (
                    "count by (version, python, aiohttp) (chatsvc_build_info{S})",
                    "{{version}}, Python {{python}}, aiohttp {{aiohttp}}",
                ),
            ),
        ),
    ),
}
"""The panels, by the title of their row."""

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard(plan: Plan) -> str:
    """Return the dashboard, whose job is by default that of `--job`."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row, members in PANELS.items():
        panels.append(_row(len(panels) + 1, row, top))
        for number, panel in enumerate(members):
            across, down = number % (_COLUMNS // _WIDTH), number // (_COLUMNS // _WIDTH)
            place = {"x": across * _WIDTH, "y": top + 1 + down * _HEIGHT}
            panels.append(_graph(len(panels) + 1, panel, place))
        rows = -(-len(members) // (_COLUMNS // _WIDTH))
        top += 1 + rows * _HEIGHT
    content = {
        "title": "chatsvc",
        "uid": "chatsvc",
        "tags": ["chatsvc"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables(plan.options.job)},
        "panels": panels,
    }
    return json.dumps(content, indent=2) + "\n"


def _row(number: int, title: str, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "gridPos": place, "panels": []}


def _graph(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.tells,
        "datasource": _SOURCE,
        "gridPos": {**place, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query.replace("{S}", f"{{{_SELECTOR}}}"),
                "legendFormat": legend,
            }
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }


def _variables(job: str) -> list[dict[str, Any]]:
    chosen = {
        "type": "query",
        "datasource": _SOURCE,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "sort": 1,
    }
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        {
            **chosen,
            "name": "job",
            "query": "label_values(chatsvc_build_info, job)",
            "current": {"text": [job], "value": [job]},
        },
        {
            **chosen,
            "name": "instance",
            "query": 'label_values(chatsvc_build_info{job=~"$job"}, instance)',
            "current": {"text": ["All"], "value": ["$__all"]},
        },
    ]
