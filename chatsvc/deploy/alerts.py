"""The alert rules of Prometheus for the service's metrics: `chatsvc deploy alerts`."""

from __future__ import annotations

from chatsvc.deploy.plan import Plan
from chatsvc.deploy.template import render


def alert_rules(plan: Plan) -> str:
    """Return a file of rules; its selectors have the job of `--job`."""
    return render(
        "alerts.j2", job=plan.options.job, max_replies=plan.settings.max_replies
    )
