"""The dashboard and the alerts ask for metrics that there are, and the alerts fire when they should."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chatsvc.deploy.kinds import deploy
from chatsvc.web.figures import Figures
from chatsvc.web.metrics import Metrics
from tests.conftest import require

METRIC = re.compile(r"\b(?:chatsvc|process)_\w+\b")


@pytest.fixture(scope="module")
def scraped() -> dict[str, set[str]]:
    """What a scrape of a service with workers has: the names of its series, with their labels."""
    figures = Figures(2)
    metrics = Metrics(figures, 0)
    Metrics(figures, 1)
    for labelled, count in (
        (metrics.readers, 1),
        (metrics.resumes, 1),
        (metrics.refusals, 1),
        (metrics.cut, 1),
        (metrics.memory, 1),
        (metrics._ended, 2),
    ):
        labelled.labels(*["x"] * count).inc()
    body = metrics.exposition().body
    assert isinstance(body, bytes)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def queries(dashboard: dict[str, Any]) -> list[tuple[str, str]]:
    """The queries of all panels, with their legends."""
    return [
        (target["expr"], target["legendFormat"])
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


def test_the_dashboard_asks_for_what_there_is(scraped: dict[str, set[str]]) -> None:
    dashboard = json.loads(deploy("grafana", {"job": "mine"}))
    asked = queries(dashboard)
    assert len(asked) > 18
    used = set()
    for query, legend in asked:
        names = METRIC.findall(query)
        assert names, query
        assert scraped.keys() >= set(names), query
        used.update(names)
        known = {"job", "instance"}.union(*(scraped[name] for name in names))
        grouped = re.findall(r"by \(([^)]*)\)", query)
        labels = {each.strip() for group in grouped for each in group.split(",")}
        shown = set(re.findall(r"{{(\w+)}}", legend))
        assert known >= labels | shown, (query, legend)
        if grouped:
            assert labels >= shown, (query, legend)
    own = {name for name in scraped if name.startswith("chatsvc_")}
    own -= {name for name in own if re.search(r"_(created|sum|count)$", name)}
    assert own - used == {"chatsvc_loop_stalls_total"}
    assert dashboard["templating"]["list"][1]["current"]["value"] == ["mine"]


def test_the_panels_of_the_dashboard_stand_side_by_side() -> None:
    panels = json.loads(deploy("grafana", {}))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y)
            for x in range(place["w"])
            for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_the_alerts_ask_for_what_there_is(scraped: dict[str, set[str]]) -> None:
    rules = deploy("alerts", {"job": "mine", "max_replies": "50"})
    asked = re.findall(r"(\b(?:chatsvc|process)_\w+)\{([^}]*)\}", rules)
    assert len(asked) > 10
    for name, selector in asked:
        assert name in scraped
        labels = dict(re.findall(r'(\w+)="([^"]*)"', selector))
        assert labels.pop("job") == "mine"
        assert scraped[name] >= labels.keys()
    assert "> 0.9 * 50" in rules
    assert rules.count('job="mine"') == rules.count("job=")


def test_promtool_takes_the_queries_and_the_rules(tmp_path: Path) -> None:
    require("promtool")
    file = tmp_path / "rules.yml"
    file.write_text(deploy("alerts", {}))
    subprocess.run(["promtool", "check", "rules", file], check=True)
    # The dashboard's queries, as rules: with what Grafana would put in place of its variables.
    lines = ["groups:", "- name: queries", "  rules:"]
    for number, (query, _) in enumerate(queries(json.loads(deploy("grafana", {})))):
        query = query.replace("$__rate_interval", "1m").replace("$", "")
        lines += [f"  - record: query:{number}", f"    expr: {json.dumps(query)}"]
    file.write_text("\n".join(lines))
    done = subprocess.run(
        ["promtool", "check", "rules", file],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


CASES = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {series: 'up{job="chatsvc",instance="a"}', values: '1x5 0x30'}
  - {series: 'up{job="chatsvc",instance="b"}', values: '1x35'}
  - {series: 'chatsvc_replies_ended_total{job="chatsvc",instance="a",state="done",finish_reason="stop"}', values: '0+90x35'}
  - {series: 'chatsvc_replies_ended_total{job="chatsvc",instance="a",state="failed",finish_reason="error"}', values: '0x10 0+10x25'}
  - {series: 'chatsvc_backend_failures_total{job="chatsvc",instance="a",reason="misconfigured"}', values: '0x20 1x15'}
  - {series: 'chatsvc_backend_failures_total{job="chatsvc",instance="a",reason="busy"}', values: '0+60x35'}
  - {series: 'chatsvc_store_failures_total{job="chatsvc",instance="a",reason="away"}', values: '0+60x35'}
  - {series: 'chatsvc_first_character_seconds_bucket{job="chatsvc",instance="a",le="10.0"}', values: '0+10x35'}
  - {series: 'chatsvc_first_character_seconds_bucket{job="chatsvc",instance="a",le="30.0"}', values: '0+20x35'}
  - {series: 'chatsvc_first_character_seconds_bucket{job="chatsvc",instance="a",le="+Inf"}', values: '0+20x35'}
  - {series: 'chatsvc_replies_running{job="chatsvc",instance="a"}', values: '5000x35'}
  - {series: 'chatsvc_replies_running{job="chatsvc",instance="b"}', values: '4100x35'}
  - {series: 'chatsvc_memory_bytes{job="chatsvc",instance="a",kind="texts"}', values: '95x35'}
  - {series: 'chatsvc_memory_limit_bytes{job="chatsvc",instance="a"}', values: '100x35'}
  - {series: 'chatsvc_memory_bytes{job="chatsvc",instance="b",kind="texts"}', values: '95x35'}
  - {series: 'chatsvc_memory_limit_bytes{job="chatsvc",instance="b"}', values: '0x35'}
  - {series: 'process_open_fds{job="chatsvc",instance="a"}', values: '95x35'}
  - {series: 'process_max_fds{job="chatsvc",instance="a"}', values: '100x35'}
  - {series: 'process_start_time_seconds{job="chatsvc",instance="a"}', values: '0+1x35'}
  - {series: 'chatsvc_descriptor_refusals_total{job="chatsvc",instance="a"}', values: '0x30 5x5'}
  - {series: 'chatsvc_loop_stalls_total{job="chatsvc",instance="a"}', values: '0+30x35'}
  alert_rule_test:
  - {eval_time: 3m, alertname: ChatsvcDown}
  - {eval_time: 9m, alertname: ChatsvcRepliesFail}
  - {eval_time: 19m, alertname: ChatsvcBackendMisconfigured}
  - {eval_time: 29m, alertname: ChatsvcRefusesForDescriptors}
  - {eval_time: 29m, alertname: ChatsvcGone}
%s
- interval: 1m
  input_series:
  - {series: 'chatsvc_replies_ended_total{job="chatsvc",instance="a",state="done",finish_reason="stop"}', values: '0+90x35'}
  - {series: 'process_start_time_seconds{job="chatsvc",instance="a"}', values: '1x35'}
  alert_rule_test:
%s
  - eval_time: 31m
    alertname: ChatsvcGone
    exp_alerts: [{exp_labels: {job: chatsvc, severity: critical}, exp_annotations: {summary: Prometheus knows no node of chatsvc, description: There is no target in the job chatsvc.}}]
"""
"""One service of which everything is wrong in the end, and one of which all is well but that it is gone."""


def test_the_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    require("promtool")
    rules = deploy("alerts", {})
    (tmp_path / "rules.yml").write_text(rules)
    names = re.findall(r"alert: (\w+)", rules)
    all_but_gone = [name for name in names if name != "ChatsvcGone"]
    quiet = "\n".join(
        f"  - {{eval_time: 34m, alertname: {name}}}" for name in all_but_gone
    )
    assert _test_rules(tmp_path, CASES % ("", quiet)) == ""
    # Those that fire are named, as none was expected.
    at = {"ChatsvcBackendMisconfigured": "22m"}
    none = "\n".join(
        f"  - {{eval_time: {at.get(name, '34m')}, alertname: {name}}}"
        for name in all_but_gone
    )
    said = _test_rules(tmp_path, CASES % (none, quiet))
    assert set(re.findall(r'Labels:{alertname="(\w+)"', said)) == set(all_but_gone)


def _test_rules(folder: Path, cases: str) -> str:
    """What promtool says of cases; "" if all is as they expect."""
    (folder / "test.yml").write_text(cases)
    done = subprocess.run(
        ["promtool", "test", "rules", folder / "test.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr
