"""`grpo report` and `grpo watch` on run folders, their mistakes and their ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from grpo import cli
from grpo.metrics import MetricsLog


@pytest.fixture
def folder(tmp_path):
    """A run that has taken two of its three steps."""
    run = tmp_path / "run"
    log = MetricsLog(run)
    for step in range(3):
        log.write(step, {"reward/mean": step / 2, "eval/held-out/mean_length": 3.0})
    log.close()
    (run / "recipe.yaml").write_text("train: {steps: 3}\n")
    return run


@pytest.fixture
def command(capsys):
    def run(*arguments) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def started(folder):
    """started(*arguments): a `grpo` process."""
    begun = []

    def start(*arguments):
        command = [sys.executable, "-P", "-m", "grpo", *map(str, arguments)]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def test_a_report_says_where_it_is(command, folder, tmp_path):
    code, out, _ = command("report", folder)
    assert (code, out.split()[0]) == (0, str(folder / "report.html"))
    out_file = tmp_path / "page.html"
    code, out, _ = command("report", folder, "--out", out_file, "--steps", 1, "--groups", 1)
    assert (code, out.split()[0]) == (0, str(out_file))
    assert out_file.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["report", "watch"])
def test_what_is_no_run_is_one_line(command, tmp_path, name):
    for place, said in ((tmp_path / "nowhere", "no such folder"), (tmp_path, "has no metrics.jsonl")):
        code, _, err = command(name, place)
        assert (code, err) == (2, f"error: {place}: {said}. Name the folder of a run, as in output.folder\n")


def test_a_folder_that_is_not_there_is_one_line(command, folder, tmp_path):
    code, _, err = command("report", folder, "--out", tmp_path / "no" / "x.html")
    assert (code, err.count("\n")) == (2, 1)
    assert "no such folder" in err


def test_watch_and_its_options(command, folder):
    code, _, err = command("watch", folder, "--port", "9")
    assert (code, err) == (2, "error: --port: is of the page. Add --serve\n")
    (folder / "summary.json").write_text('{"steps": 3}')
    MetricsLog(folder, resume_at=2).write(3, {"reward/mean": 1.0})
    code, out, _ = command("watch", folder)
    assert code == 0
    assert "step 3/3" in out
    assert "has ended after 3 steps" in out


def interrupt(process) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_ctrl_c_ends_the_page(started, folder):
    process = started("watch", folder, "--serve", "--port", 0)
    line = process.stdout.readline()
    url = next(word for word in line.split() if word.startswith("http"))
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert b"<!doctype html>" in answer.read()
    assert interrupt(process) == (130, "interrupted\n")


def test_ctrl_c_ends_the_terminal_view(started, folder):
    process = started("watch", folder)
    assert process.stdout.readline().startswith("training: 3 steps")
    assert process.stdout.readline().startswith("step 2/3")
    time.sleep(0.2)
    assert interrupt(process) == (130, "interrupted\n")
