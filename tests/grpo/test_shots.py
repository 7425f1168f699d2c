"""Worked examples in front of prompts: which, how written, and that they are not trained on."""

import pytest

from grpo.data import open_data
from grpo.errors import UserError
from grpo.recipe import Data
from grpo.rows import Item
from grpo.shots import choose_shots, render, render_anew

ITEMS = [Item(f"{n}+1=", str(n + 1), f"key{n}", {}) for n in range(200)]


class Letters:
    """Tokens are code points."""

    def __call__(self, texts, add_special_tokens):
        return {"input_ids": [[ord(letter) for letter in text] for text in texts]}


def data(**values) -> Data:
    return Data(train="x", **{"template": "qa", "shots": 3, "holdout": 0.3, **values})


def splits(more: int = 0, **values):
    return open_data(ITEMS, data(**values), tokenizer=Letters(), max_prompt_tokens=1000, more=more)


def test_every_prompt_stands_behind_the_same_examples():
    opened = splits()
    examples = "".join(f"Question: {item.prompt}\nAnswer: {item.answer}\n\n" for item in opened.shots)
    for prompt in (*opened.train, *opened.select, *opened.report):
        assert prompt.text == f"{examples}Question: {prompt.prompt}\nAnswer:"
        assert len(prompt.token_ids) == len(prompt.text)


def test_examples_are_in_no_split_and_change_no_other():
    plain, shown = splits(shots=0), splits(more=5)
    assert len(shown.shots) == 3
    assert shown.shot_pool[:3] == shown.shots
    kept = {prompt.prompt for prompt in shown.train}
    assert kept == {prompt.prompt for prompt in plain.train} - {item.prompt for item in shown.shot_pool}
    assert len(kept) == len(plain.train) - 5
    for half in ("select", "report"):
        assert [p.id for p in getattr(shown, half)] == [p.id for p in getattr(plain, half)]


def test_prompts_are_asked_anew_with_more_examples_or_none():
    opened = splits(more=5)
    for shots in (0, 5):
        (first, *_) = render_anew(opened.report, data(shots=shots), Letters(), opened.shot_pool)
        assert first.id == opened.report[0].id
        assert first.text.count("Answer:") == shots + 1
        assert len(first.token_ids) == len(first.text)


def test_examples_never_come_from_what_is_held_out():
    held = {prompt.prompt for half in ("select", "report") for prompt in getattr(splits(shots=0), half)}
    everything = choose_shots(ITEMS, data(shots=len(ITEMS) - len(held)))
    assert held.isdisjoint(item.prompt for item in everything)
    with pytest.raises(UserError, match=r"data.shots: .* worked examples, but"):
        choose_shots(ITEMS, data(shots=len(ITEMS) - len(held) + 1))


def test_a_template_without_examples_refuses_them():
    with pytest.raises(UserError, match=r"data.shots: template raw takes no worked examples. Use qa, or 0"):
        splits(template="raw")
    assert render("1+1=", data(template="raw", shots=0), None, ()) == "1+1="
