"""The file that `grpo report` writes."""

import base64
import hashlib
import json
import re

import pytest

from grpo.errors import UserError
from grpo.report import page as module
from grpo.report.page import embedded, graders_of, page, write_report
from grpo.report.samples import step_files


def data_of(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])


def test_everything_is_in_one_file(run):
    path = write_report(run)
    assert path == run / "report.html"
    html = path.read_text()
    data = data_of(html)
    assert [step["step"] for step in data["samples"]] == [1, 2, 3, 4]
    assert data["comparison"]["final"]
    assert "rule: accuracy" in data["recipe"]
    assert data["environment"]["packages"] == {"torch": "2.13"}
    assert data["panels"][0]["title"] == "Accuracy"
    assert {s["name"] for s in data["panels"][0]["series"]} == {"held-out", "training, accuracy"}
    outside = re.findall(
        r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", re.sub(r"<script.*?</script>", "", html, flags=re.S)
    )
    assert {link for link in outside if not link.startswith("#")} == {"data:,"}
    assert not re.search(r"url\(|@import", html)


def test_what_a_model_wrote_is_only_ever_data(run, hostile):
    html = write_report(run).read_text()
    assert html.count("<script") == 2
    assert html.count("</script>") == 2
    assert "<img" not in html
    assert "document.title='owned'" in html  # as text
    data = data_of(html)
    assert hostile.split("\u202e")[0] in data["samples"][0]["groups"][0]["prompt"]


def test_only_the_pages_own_script_may_run(run):
    html = write_report(run).read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    for tag, name in (("script", "script-src"), ("style", "style-src")):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy


def test_braces_in_data_are_filled_with_nothing(run):
    (run / "recipe.yaml").write_text("a: '{{script}} {{data}}'\n")
    html = write_report(run).read_text()
    assert data_of(html)["recipe"] == "a: '{{script}} {{data}}'\n"


def test_embedded_json_is_the_same_json_without_markup():
    value = {"a": "</script><!-- & \u2028 é", "b": [1, None]}
    text = embedded(value)
    assert not set("<>&") & set(text)
    assert json.loads(text) == value


def test_what_is_left_out_is_said_and_the_file_is_bounded(run, monkeypatch):
    data = data_of(write_report(run, steps=2, groups=1).read_text())
    assert (data["sampled"], len(data["samples"])) == (4, 2)
    assert [(len(step["groups"]), step["prompts"]) for step in data["samples"]] == [(1, 3), (1, 3)]
    monkeypatch.setattr(module, "ROOM", 10)
    data = data_of(write_report(run).read_text())
    assert [len(step["groups"]) for step in data["samples"]] == [0, 0, 0, 0]


def test_runs_with_little_in_them(make_run, tmp_path):
    assert data_of(write_report(make_run(1, ended=False)).read_text())["ended"] is False
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "metrics.jsonl").touch()
    data = data_of(write_report(empty).read_text())
    assert (data["panels"], data["samples"], data["steps"]) == ([], [], None)
    assert step_files(empty) == {}


def test_where_it_cannot_be_written(run, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        write_report(run, tmp_path / "nowhere" / "x.html")
    with pytest.raises(UserError, match="is a folder"):
        write_report(run, tmp_path)
    assert not (tmp_path / "nowhere").exists()


def test_a_title_is_text(run):
    assert "<title>&lt;b>&quot;&amp;</title>" in page('<b>"&', {"live": False})


def test_graders_are_the_registered_rules_whose_score_is_a_verdict():
    rules = ["format", "mine.py:accuracy", "accuracy", "cosine_length", "accuracy"]
    given = [*({"rule": rule} for rule in rules), "choice"]
    assert graders_of({"rewards": given}) == ["accuracy_2", "accuracy_3"]
    assert graders_of({"rewards": "none"}) == []
    assert graders_of({}) == []
