"""doctor: what is wrong, and how to mend it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from sfm_app.cli.invocation import Invocation, command

__all__ = ["doctor_command"]

_MARKS = {"ok": "ok  ", "warning": "warn", "failed": "FAIL"}


@command("doctor")
@click.pass_context
def doctor_command(ctx: click.Context, invocation: Invocation) -> None:
    """Find out what is wrong, and how to mend it.

    Looks at versions, settings, data directory, plugins, backends and index; exit code 1 when something is wrong.
    """
    from sfm_app.cli.examination import examine

    findings = examine(invocation)
    failed = any(finding.state == "failed" for finding in findings)
    document = {"status": "failed" if failed else "ok", "checks": [finding.document() for finding in findings]}
    invocation.show(document, _view)
    ctx.exit(1 if failed else 0)


def _view(document: Mapping[str, Any]) -> str:
    lines = []
    for check in document["checks"]:
        lines.append(f"{_MARKS[check['state']]}  {check['name']}: {check['detail']}")
        if check["fix"]:
            lines.append(f"      -> {check['fix']}")
    return "\n".join([*lines, "everything is well" if document["status"] == "ok" else "something is wrong"])
