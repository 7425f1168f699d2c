"""What a skip means under GRPO_STRICT=1, tried on a small suite under the real conftest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest

def test_tool(): pytest.skip("needs g++")
def test_data(): pytest.skip("data: GSM8K is not in the project")
def test_hardware(): pytest.skip("hardware: no GPU")
@pytest.mark.skipif(True, reason="needs git")
def test_marked(): ...
@pytest.mark.xfail
def test_expected(): assert False
@pytest.fixture
def tool(): pytest.skip("needs make")
def test_fixture(tool): ...
def test_import(): pytest.importorskip("no_such_module")
"""
MODULE = 'import pytest\npytest.skip("needs a compiler", allow_module_level=True)\n'


@pytest.mark.parametrize(("strict", "outcome"), [("0", "7 skipped, 1 xfailed"), ("1", "2 skipped")])
def test_skips_for_want_of_a_tool_fail_only_under_strict(tmp_path, strict, outcome):
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "test_module.py").write_text(MODULE)
    pytest_here = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command = [*pytest_here, "--continue-on-collection-errors", str(tmp_path)]
    env = {**os.environ, "GRPO_STRICT": strict, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    last = done.stdout.splitlines()[-1]
    assert outcome in last
    if strict == "1":
        assert "2 failed" in last
        assert "3 errors" in last  # of marks, fixtures and a module
        assert "skipped under GRPO_STRICT=1: Skipped: needs g++" in done.stdout
    assert done.returncode == int(strict == "1")


def test_no_test_reaches_a_hub():
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
