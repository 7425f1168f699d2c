"""The sets and their registry."""

import itertools
import os
import re
from pathlib import Path

import pytest

from eval.sets import addition, registry
from grpo.sources import parse_source, read_rows

LOCAL = Path(os.environ.get("GRPO_TEST_DATA") or Path(__file__).parents[3].parent / "shared" / "data")


@pytest.mark.parametrize("name", registry.names())
def test_every_set_says_what_it_is_and_where_it_comes_from(name):
    found = registry.get(name)
    assert found.about
    assert found.licence
    assert found.splits
    assert bool(found.hub) != bool(found.generate)
    assert set(found.files) <= set(found.splits)
    if found.gold:
        assert re.compile(found.gold).groups == 1


def test_names_are_the_files():
    assert {"addition", "gsm8k", "math", "math500"} <= set(registry.names())
    assert "registry" not in registry.names()
    with pytest.raises(KeyError):
        registry.get("registry")


def test_sums_are_right_and_pairs_distinct():
    rows = list(addition.rows("train", digits=2, count=4095))  # all there are: 90 * 91 / 2
    assert len({row["pair"] for row in rows}) == 4095
    for row in rows:
        a, b = map(int, row["prompt"].removesuffix("=").split("+"))
        assert row["answer"] == str(a + b)
        assert row["pair"] == f"{min(a, b)}+{max(a, b)}"
        assert 10 <= min(a, b) <= max(a, b) <= 99


def test_both_orders_and_every_operand_occur():
    rows = [
        tuple(map(int, row["prompt"][:-1].split("+"))) for row in addition.rows("train", digits=3, count=4000)
    ]
    ascending = sum(a < b for a, b in rows)
    assert 0.45 < ascending / len(rows) < 0.55
    assert {a % 10 for a, _ in rows} == set(range(10))
    assert min(itertools.chain(*rows)) < 105
    assert max(itertools.chain(*rows)) > 994


def test_rows_depend_on_seed_and_on_nothing_else():
    first, again = (list(addition.rows("train", count=50)) for _ in range(2))
    assert first == again
    assert first != list(addition.rows("train", count=50, seed=1))


@pytest.mark.parametrize(
    "options", [{"digits": 0}, {"count": 0}, {"digits": 1, "count": 46}, {"split": "test"}]
)
def test_impossible_options_are_refused(options):
    split = options.pop("split", "train")
    with pytest.raises(ValueError, match=r"digits|count|split"):
        list(addition.rows(split, **options))


@pytest.mark.parametrize(("split", "count"), [("train", 7473), ("test", 1319)])
def test_gsm8k_reads_with_a_gold_in_every_row(monkeypatch, split, count):
    if not LOCAL.is_dir():
        pytest.skip("data: no folder with GSM8K (GRPO_TEST_DATA)")
    monkeypatch.setenv("GRPO_DATA", str(LOCAL))
    found = registry.get("gsm8k")
    rows = read_rows(parse_source(f"gsm8k:{split}"), {}, seed=0)
    assert len(rows) == count == found.rows[split]
    golds = [re.search(found.gold, row[found.columns["answer"]])[1] for row in rows]
    assert all(re.fullmatch(r"-?[\d,]+(\.\d+)?", gold) for gold in golds)
    assert golds[0] == {"train": "72", "test": "18"}[split]


@pytest.mark.parametrize(("source", "least"), [("math", 7474), ("math500", 500)])
def test_math_reads_with_a_gold_in_nearly_every_row(monkeypatch, source, least):
    """A set named without a split is its first: test, where there is no train."""
    if not (LOCAL / "math500.jsonl").is_file():
        pytest.skip("data: no folder with MATH (GRPO_TEST_DATA)")
    monkeypatch.setenv("GRPO_DATA", str(LOCAL))
    found, parsed = registry.get(source), parse_source(source)
    assert parsed.split == found.splits[0]
    rows = read_rows(parsed, {}, seed=0)
    assert len(rows) >= least
    assert all(row[found.columns["prompt"]] for row in rows)
    assert (
        sum(not (row[found.columns["answer"]] or "").strip() for row in rows) <= 4
    )  # which bad_gold: drop leaves out
