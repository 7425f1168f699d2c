"""The hand-labelled corpus is whole: its size, its split, its reasons."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

from rewards.accuracy import accuracy

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def corpus():
    spec = importlib.util.spec_from_file_location("grading_corpus", BENCHMARKS / "grading_corpus.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["grading_corpus"] = module
    spec.loader.exec_module(module)
    return module


def test_size(corpus):
    pairs = [pair for part in corpus.PARTS for pair in corpus.read(part)]
    assert len(pairs) >= 600
    assert sum(not pair.right for pair in pairs) >= 250
    assert len({(pair.kind, pair.gold, pair.completion) for pair in pairs}) == len(pairs)
    assert all(len(pair.why.split()) >= 4 for pair in pairs)


@pytest.mark.parametrize("part", ["tuning", "held_out"])
def test_every_pair_lies_where_its_hash_puts_it(corpus, part):
    pairs = corpus.read(part)
    assert {corpus.part_of(pair.kind, pair.gold, pair.completion) for pair in pairs} == {part}
    kinds = Counter((pair.kind, pair.right) for pair in pairs)
    assert min(kinds.values()) >= 1
    assert len(kinds) == 2 * 28  # every class has right and wrong pairs in both parts


def test_a_third_is_held_out(corpus):
    held, tuning = len(corpus.read("held_out")), len(corpus.read("tuning"))
    assert 0.28 < held / (held + tuning) < 0.38


def wrong_verdicts(pairs):
    golds, completions = [pair.gold for pair in pairs], [pair.completion for pair in pairs]
    scores = accuracy(prompts=golds, completions=completions, answer=golds)
    return [pair for pair, score in zip(pairs, scores, strict=True) if score != float(pair.right)]


@pytest.mark.parametrize("part", ["tuning", "later"])
def test_the_grader_agrees_with_every_pair_it_was_developed_on(corpus, part):
    assert wrong_verdicts(corpus.read(part)) == []


def test_it_agrees_with_as_many_held_out_pairs_as_published(corpus):
    assert len(wrong_verdicts(corpus.read("held_out"))) <= 1  # docs/results.md
