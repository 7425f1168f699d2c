"""Settings of every test, and what a skip may mean.

A skip gives its reason with one of three beginnings: `needs ` a tool that can be installed, `data: ` that is
not in the project, `hardware: ` that this machine lacks. Under GRPO_STRICT=1, as in CI, the first kind fails.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

# Before anything reads them: no test may reach a hub or send usage statistics.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    VLLM_NO_USAGE_STATS="1",
    DO_NOT_TRACK="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_WAIT_POLICY="PASSIVE",
)

# A shell starts what runs in its background with SIGINT ignored, and so would all that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

INSTALLABLE = ("needs ", "could not import ")  # the second is what pytest.importorskip says


def make_strict(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip for want of something that can be installed into a failure."""
    if not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return
    path, line, reason = report.longrepr
    if reason.removeprefix("Skipped: ").startswith(INSTALLABLE):
        report.outcome = "failed"
        report.longrepr = f"{path}:{line}: skipped under GRPO_STRICT=1: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if os.environ.get("GRPO_STRICT") == "1":
        make_strict(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if os.environ.get("GRPO_STRICT") == "1":
        make_strict(report)
    return report
