"""The map from each module of `chatsvc/` to its tests: a module that has none fails here.

The tests of a module are the files that are named after it (`_names`), those that import it, and
the one that `THROUGH_OTHERS` lists for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts): file
    for file in sorted(ROOT.glob("chatsvc/**/*.py"))
}
"""The file of each module by the module's dotted name, which for a package ends in `.__init__`."""
TESTS = sorted(ROOT.glob("tests/**/test_*.py"))

THROUGH_OTHERS = {
    "chatsvc.__main__": "tests/test_readme.py",
    "chatsvc.backends.answer_pieces": "tests/backends/test_chunk_pieces.py",
    "chatsvc.backends.base": "tests/test_backends.py",
    "chatsvc.backends.body": "tests/backends/test_upstream_stalls.py",
    "chatsvc.backends.chunks": "tests/test_openai_backend.py",
    "chatsvc.backends.content_parts": "tests/backends/test_chunk_pieces.py",
    "chatsvc.backends.exchange": "tests/backends/test_proxied.py",
    "chatsvc.backends.extras": "tests/backends/test_chunk_pieces.py",
    "chatsvc.backends.llama": "tests/test_local_backend.py",
    "chatsvc.backends.model_request": "tests/test_openai_backend.py",
    "chatsvc.backends.upstream": "tests/test_openai_backend.py",
    "chatsvc.backends.response": "tests/backends/test_upstream_ends.py",
    "chatsvc.client.poll": "tests/test_client_ask.py",
    "chatsvc.client.sse": "tests/test_client_ask.py",
    "chatsvc.client.text": "tests/test_client_ask.py",
    "chatsvc.client.websocket": "tests/test_client_ask.py",
    "chatsvc.problem": "tests/test_problems.py",
    "chatsvc.users.identity": "tests/service/test_mounted.py",
    "chatsvc.web.identification": "tests/service/test_mounted.py",
    "chatsvc.exit_status": "tests/test_cli.py",
    "chatsvc.hangup": "tests/service/test_hangup.py",
    "chatsvc.named_functions": "tests/test_backends.py",
    "chatsvc.transports.block_stream": "tests/service/test_blocks.py",
    "chatsvc.rendering.colours": "tests/test_markdown.py",
    "chatsvc.rendering.frames": "tests/rendering/test_renderer.py",
    "chatsvc.rendering.html_writer": "tests/test_markdown.py",
    "chatsvc.rendering.tokens": "tests/rendering/test_limits.py",
    "chatsvc.rendering.worker": "tests/rendering/test_renderer.py",
    "chatsvc.replies.admission": "tests/replies/test_limits.py",
    "chatsvc.replies.background": "tests/replies/test_stopping.py",
    "chatsvc.replies.calls": "tests/replies/test_part_writer.py",
    "chatsvc.replies.extra_members": "tests/replies/test_part_writer.py",
    "chatsvc.replies.json_values": "tests/replies/test_part_writer.py",
    "chatsvc.replies.log_reader": "tests/replies/test_parts_reader.py",
    "chatsvc.replies.producer": "tests/replies/test_failing.py",
    "chatsvc.replies.producers": "tests/replies/test_stopping.py",
    "chatsvc.replies.registry": "tests/replies/test_finding.py",
    "chatsvc.replies.timer": "tests/replies/test_stopping.py",
    "chatsvc.stores.cluster": "tests/stores/test_handing_on.py",
    "chatsvc.stores.single_node": "tests/replies/test_memory.py",
    "chatsvc.web.bodies": "tests/service/test_errors.py",
    "chatsvc.web.connection_limits": "tests/service/test_connections.py",
    "chatsvc.web.phases": "tests/service/test_connections.py",
    "chatsvc.web.plain_answers": "tests/service/test_connections.py",
    "chatsvc.requests.decoding": "tests/test_requests.py",
    "chatsvc.requests.openai": "tests/service/test_openai.py",
    "chatsvc.requests.ui": "tests/service/test_ui.py",
    "chatsvc.serve": "tests/service/test_running.py",
    "chatsvc.setting_formats": "tests/test_settings.py",
    "chatsvc.settings.address": "tests/test_settings.py",
    "chatsvc.settings.backend": "tests/test_settings.py",
    "chatsvc.settings.definition": "tests/test_settings.py",
    "chatsvc.settings.environment": "tests/test_settings.py",
    "chatsvc.settings.limits": "tests/test_settings.py",
    "chatsvc.settings.logs": "tests/test_settings.py",
    "chatsvc.settings.page": "tests/test_settings.py",
    "chatsvc.settings.process": "tests/test_settings.py",
    "chatsvc.settings.replies": "tests/test_settings.py",
    "chatsvc.settings.users": "tests/test_settings.py",
    "chatsvc.stores.redis.bell": "tests/stores/test_following.py",
    "chatsvc.stores.redis.cluster": "tests/stores/test_adopting.py",
    "chatsvc.stores.redis.follower": "tests/stores/test_following.py",
    "chatsvc.stores.redis.followers": "tests/stores/test_kinds.py",
    "chatsvc.stores.redis.idempotency": "tests/stores/test_redis.py",
    "chatsvc.stores.redis.keys": "tests/stores/test_kinds.py",
    "chatsvc.stores.redis.logs": "tests/stores/test_redis.py",
    "chatsvc.stores.redis.outbox": "tests/stores/test_away.py",
    "chatsvc.stores.redis.owner": "tests/stores/test_redis.py",
    "chatsvc.stores.redis.owner_scripts": "tests/stores/test_redis.py",
    "chatsvc.stores.redis.rights": "tests/stores/test_rights.py",
    "chatsvc.stores.redis.scripts": "tests/stores/test_redis.py",
    "chatsvc.stores.redis.store": "tests/stores/test_redis.py",
    "chatsvc.stores.redis.tasks": "tests/stores/test_away.py",
    "chatsvc.transports.bare": "tests/service/test_sockets.py",
    "chatsvc.transports.html": "tests/service/test_rendered.py",
    "chatsvc.transports.json_events": "tests/service/test_sockets.py",
    "chatsvc.transports.json_line": "tests/service/test_ndjson.py",
    "chatsvc.transports.ndjson": "tests/service/test_ndjson.py",
    "chatsvc.transports.openai": "tests/service/test_openai.py",
    "chatsvc.transports.snapshot": "tests/service/test_representations.py",
    "chatsvc.transports.templates": "tests/service/test_rendered.py",
    "chatsvc.transports.ui": "tests/service/test_ui.py",
    "chatsvc.deploy.alerts": "tests/deploy/test_metrics_files.py",
    "chatsvc.deploy.grafana": "tests/deploy/test_metrics_files.py",
    "chatsvc.deploy.plan": "tests/deploy/test_kinds.py",
    "chatsvc.web.access": "tests/service/test_exactly_once.py",
    "chatsvc.web.chat": "tests/service/test_representations.py",
    "chatsvc.web.disconnects": "tests/service/test_running.py",
    "chatsvc.web.health": "tests/service/test_running.py",
    "chatsvc.web.cuts": "tests/service/test_connections.py",
    "chatsvc.web.logs": "tests/service/test_running.py",
    "chatsvc.web.metric_families": "tests/service/test_metrics.py",
    "chatsvc.web.open_request": "tests/service/test_request_lines.py",
    "chatsvc.web.metrics": "tests/service/test_running.py",
    "chatsvc.web.middleware": "tests/service/test_errors.py",
    "chatsvc.web.names": "tests/service/test_ui.py",
    "chatsvc.web.openai": "tests/service/test_openai.py",
    "chatsvc.web.origin": "tests/service/test_origin.py",
    "chatsvc.web.parsing": "tests/service/test_errors.py",
    "chatsvc.web.problems": "tests/service/test_errors.py",
    "chatsvc.web.readers": "tests/service/test_events.py",
    "chatsvc.web.security": "tests/service/test_errors.py",
    "chatsvc.web.sockets": "tests/service/test_sockets.py",
    "chatsvc.web.ui": "tests/service/test_ui.py",
    "chatsvc.web.withdrawal": "tests/service/test_withdrawal.py",
    "chatsvc.workers": "tests/service/test_workers.py",
}
"""The test file of each module that no test imports: it runs the module through those that do."""


def _imported(test: Path) -> set[str]:
    """Return the dotted names that a test file imports: modules, and names from modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(test.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _names(module: str) -> Iterator[str]:
    """Yield the paths of the test files that a module's name leads to.

    For `chatsvc.room.part` they are `tests/room/test_part.py` and `tests/test_room_part.py`; for
    `chatsvc.room.inner.part`, `tests/room/test_inner_part.py` is one more.
    """
    parts = module.removesuffix(".__init__").split(".")[1:]
    for depth in range(len(parts)):
        yield "/".join(["tests", *parts[:depth], f"test_{'_'.join(parts[depth:])}.py"])


def _defines_nothing(module: str) -> bool:
    """Return whether a module has nothing but a docstring, imports and names like `__all__`."""
    for node in ast.parse(MODULES[module].read_text()).body:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                pass
            case ast.Assign(targets=[ast.Name(id=name)]) if name.startswith("__"):
                pass
            case _:
                return False
    return True


IMPORTED = {name for test in TESTS for name in _imported(test)}


@pytest.mark.parametrize(
    "module", [module for module in MODULES if not _defines_nothing(module)]
)
def test_every_module_has_tests(module: str) -> None:
    named = any((ROOT / name).exists() for name in _names(module))
    imported = module.removesuffix(".__init__") in IMPORTED
    assert named or imported or module in THROUGH_OTHERS, (
        f"no test is named after {module} or imports it: write one, "
        "or add the test file that runs it to THROUGH_OTHERS"
    )


@pytest.mark.parametrize(("module", "test"), THROUGH_OTHERS.items())
def test_the_map_names_what_exists(module: str, test: str) -> None:
    assert module in MODULES, f"there is no module {module} any more"
    assert (ROOT / test) in TESTS, f"there is no test file {test} any more"
