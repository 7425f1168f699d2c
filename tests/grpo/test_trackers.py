"""Trackers, each through its real client where that is installed."""

from __future__ import annotations

import json
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from rich.console import Console

from grpo import trackers
from grpo.errors import UserError
from grpo.folder import check_same_recipe
from grpo.run import Run
from grpo.trackers import Trackers, check_trackers
from grpo.view import PlainView


@pytest.fixture
def needs():
    """needs("wandb"): skips where the package is missing."""

    def check(name: str) -> None:
        if not trackers.installed(name):
            pytest.skip(f"needs {name}: pip install --no-deps -r requirements/optional.txt")

    return check


@pytest.fixture
def tracked(recipe_of):
    """tracked("wandb"): a recipe with this tracker, its folder made."""

    def make(*names: str):
        recipe = recipe_of(f"output.trackers=[{', '.join(names)}]")
        folder = Path(recipe.output.folder)
        folder.mkdir(exist_ok=True)
        return recipe, folder

    return make


def fill(recipe, resume_at, steps) -> None:
    with Trackers(recipe, resume_at) as open_trackers:
        for step in steps:
            assert open_trackers.write(step, {"reward/mean": step / 2, "loss": 0.0}) == []


def test_none_by_default(recipe_of):
    recipe = recipe_of()
    assert recipe.output.trackers == []
    with Trackers(recipe, None) as none:
        assert none.write(1, {"loss": 1.0}) == []


def test_a_tracker_that_is_not_installed_is_told_at_once(monkeypatch):
    monkeypatch.setattr(trackers, "installed", lambda name: name != "wandb")
    check_trackers(["trackio"])
    with pytest.raises(UserError) as told:
        check_trackers(["trackio", "wandb"])
    assert str(told.value) == (
        "output.trackers: wandb is not installed. Install it by `pip install wandb`, or leave it out"
    )


def test_a_resumed_run_may_have_other_trackers(recipe_of):
    check_same_recipe(recipe_of(), recipe_of("output.trackers=[wandb]"))


class Broken:
    """A tracker that fails at its second step."""

    closed: ClassVar[list[bool]] = []

    def __init__(self, target):
        self.target = target

    def write(self, step, metrics):
        if step == 2:
            raise ConnectionError("gone\nwith details")

    def close(self, failed):
        self.closed.append(failed)


def test_a_tracker_that_fails_is_told_once_and_left(tracked, monkeypatch):
    monkeypatch.setitem(trackers.TRACKERS, "wandb", Broken)
    recipe, _ = tracked("wandb")
    with Trackers(recipe, None) as opened:
        assert [opened.write(step, {}) for step in (1, 2, 3)] == [
            [],
            ["wandb gets no more metrics: gone"],
            [],
        ]


def test_a_run_that_fails_is_closed_as_failed(tracked, monkeypatch):
    monkeypatch.setitem(trackers.TRACKERS, "wandb", Broken)
    monkeypatch.setattr(Broken, "closed", [])
    recipe, _ = tracked("wandb")
    with pytest.raises(ZeroDivisionError), Trackers(recipe, None):
        raise ZeroDivisionError
    with Trackers(recipe, None):
        pass
    assert Broken.closed == [True, False]


def test_a_client_that_refuses_is_the_users_affair(tracked, monkeypatch):
    def refuse(target):
        raise RuntimeError("no key\n  in sight")

    monkeypatch.setitem(trackers.TRACKERS, "wandb", refuse)
    with pytest.raises(UserError, match=r"output\.trackers: wandb did not start: no key\. Set it up") as told:
        Trackers(tracked("wandb")[0], None)
    assert "\n" not in str(told.value)


def test_the_id_stays_through_a_resume_and_not_longer(tracked, monkeypatch):
    ids = []
    monkeypatch.setitem(trackers.TRACKERS, "wandb", lambda target: ids.append(target.id) or Broken(target))
    recipe, folder = tracked("wandb")
    for resume_at in (None, 2, None):
        Trackers(recipe, resume_at).close()
    assert ids[0] == ids[1] != ids[2]
    assert json.loads((folder / "tracker.json").read_text()) == {"id": ids[2]}


def test_a_run_hands_on_every_line_of_its_metrics(tracked, monkeypatch):
    class Kept(Broken):
        lines: ClassVar[list] = []

        def write(self, step, metrics):
            self.lines.append((step, metrics))

    monkeypatch.setitem(trackers.TRACKERS, "trackio", Kept)
    recipe, folder = tracked("trackio")
    run = Run(recipe, PlainView(Console(quiet=True)), None)
    run.note_metrics({"loss": 0.5, "broken": float("nan")})
    run._flush()
    assert Kept.lines == [(0, {"loss": 0.5})]
    assert json.loads((folder / "metrics.jsonl").read_text()) == {
        "step": 0,
        "loss": 0.5,
        "broken": None,
        "not_finite": ["broken"],
    }


def test_tensorboard_shows_each_step_once_after_a_resume(tracked, needs):
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe, folder = tracked("tensorboard")
    fill(recipe, None, range(4))
    fill(recipe, 2, (3, 4))
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    rewards = [(event.step, event.value) for event in events.Scalars("reward/mean")]
    assert rewards == [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)]
    text = events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "preset: grpo" in text


def log_records(data: bytes) -> Iterator[bytes]:
    """Records of wandb's file: a header of 7 bytes, then a LevelDB log of blocks of 32 KiB."""
    at, parts = 7, b""
    while at + 7 <= len(data):
        length, kind = struct.unpack_from("<HB", data, at + 4)  # after the checksum
        if kind == 0:  # nothing more in this block
            at += -at % 2**15
            continue
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        at += -at % 2**15 if -at % 2**15 < 7 else 0  # a header is never split
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_wandb_offline_holds_every_line(tracked, needs, monkeypatch, tmp_path):
    needs("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    settings = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_CONFIG_DIR": str(tmp_path)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    recipe, folder = tracked("wandb")
    fill(recipe, None, range(3))
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    rows, config = [], {}
    for data in log_records(file.read_bytes()):
        record = Record.FromString(data)
        config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        logged = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        rows += [(json.loads(logged["step"]), json.loads(logged["reward/mean"]))] if "step" in logged else []
    assert rows == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert config["algorithm"]["preset"] == "grpo"
    assert json.loads((folder / "tracker.json").read_text())["id"] in file.name


def test_trackio_goes_on_in_the_same_run(tracked, needs, tmp_path, monkeypatch):
    needs("trackio")
    _, folder = tracked("trackio")
    script = (
        "import sys\nfrom grpo.recipe_file import load_recipe\nfrom grpo.trackers import Trackers\n"
        "recipe = load_recipe(sys.argv[1], sys.argv[2:])\n"
        "for resume_at, steps in ((None, (0, 1, 2)), (2, (3,))):\n"
        "    with Trackers(recipe, resume_at) as t:\n"
        "        for step in steps: assert t.write(step, {'reward/mean': step / 2}) == []\n"
    )
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    given = [str(tmp_path / "recipe.yaml"), f"output.folder={folder}", "output.trackers=[trackio]"]
    subprocess.run([sys.executable, "-c", script, *given], check=True, timeout=300)
    (file,) = (tmp_path / "trackio").glob("grpo*.db")
    with sqlite3.connect(file) as base:
        rows = base.execute("select run_name, step, metrics from metrics order by step").fetchall()
    name = f"{folder.name}-{json.loads((folder / 'tracker.json').read_text())['id']}"
    assert [(run, step, json.loads(text)["reward/mean"]) for run, step, text in rows] == [
        (name, 0, 0.0), (name, 1, 0.5), (name, 2, 1.0), (name, 3, 1.5),
    ]  # fmt: skip
