"""Rows to items: columns, golds, repeated prompts."""

import json
import logging
from pathlib import Path

import pytest

from grpo.errors import UserError
from grpo.recipe import Data
from grpo.rows import read_items


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(rows, **settings) -> Data:
        Path("r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return Data(train="r.jsonl", **settings)

    return make


def refused(data: Data) -> str:
    with pytest.raises(UserError) as caught:
        read_items(data, seed=0)
    return str(caught.value)


def test_columns_are_renamed_and_the_rest_kept(data):
    row = {"question": "q", "solution": "s", "level": 3, "prompt": "an unused column"}
    (item,) = read_items(data([row], columns={"prompt": "question", "answer": "solution"}), seed=0)
    assert (item.prompt, item.answer, item.key) == ("q", "s", "q")
    assert item.columns == {"level": 3}


def test_a_missing_column_names_those_there_are(data):
    assert refused(data([{"question": "q", "answer": "a"}])) == (
        "r.jsonl: row 1 has no column 'prompt'; it has answer, question. "
        "Name them: data.columns: {prompt: …, answer: …}"
    )
    assert "row 2 has no column 'answer'; it has prompt" in refused(
        data([{"prompt": "a", "answer": 1}, {"prompt": "b"}])
    )


def test_no_rows(data):
    assert refused(data([])) == "r.jsonl: holds no rows. Give at least one prompt and its answer"


def test_golds_by_regular_expression_and_by_function(data):
    rows = [{"prompt": "a", "answer": "so\n#### 1,080"}, {"prompt": "b", "answer": None}]
    by_pattern = read_items(data(rows, gold=r"####\s*(\S+)"), seed=0)
    assert [item.answer for item in by_pattern] == ["1,080", None]
    Path("my.py").write_text("def gold(answer): return answer.split()[-1].replace(',', '')")
    assert read_items(data(rows, gold="my.py:gold"), seed=0)[0].answer == "1080"
    assert "r.jsonl row 1: data.gold finds no gold" in refused(data(rows, gold="(@@@)"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "", "answer": "1"}, "row 1: the prompt is empty"),
        ({"prompt": 3, "answer": "1"}, "row 1: the prompt is a number"),
        ({"prompt": [{"role": "user"}], "answer": "1"}, "row 1: the prompt is a list"),
        ({"prompt": "q", "answer": ["1"]}, "row 1: the answer is a list"),
    ],
)
def test_prompts_and_answers_of_a_wrong_kind(data, row, said):
    assert said in refused(data([row]))


def test_numbers_become_text_and_messages_stay(data):
    messages = [{"role": "user", "content": "q"}]
    (item,) = read_items(data([{"prompt": messages, "answer": 7}]), seed=0)
    assert item.prompt == messages
    assert item.answer == "7"


def test_the_split_key_is_a_column(data):
    rows = [{"prompt": "1+2=", "answer": 3, "pair": "1+2"}, {"prompt": "2+1=", "answer": 3, "pair": "1+2"}]
    items = read_items(data(rows, split_key="pair"), seed=0)
    assert [item.key for item in items] == ["1+2", "1+2"]
    assert "data.split_key: no column 'pear'; there are pair" in refused(data(rows, split_key="pear"))


def test_a_repeated_prompt_is_kept_once_and_counted(data, caplog):
    rows = [{"prompt": "a", "answer": 1}, {"prompt": "b", "answer": 1}, {"prompt": "a", "answer": 2}]
    with caplog.at_level(logging.WARNING):
        items = read_items(data([*rows, rows[1]]), seed=0)
    assert [(item.prompt, item.answer) for item in items] == [("a", "1"), ("b", "1")]
    assert "2 repeated prompts dropped, 1 of them with another answer" in caplog.text


def test_a_named_set_brings_columns_gold_and_key(tmp_path, monkeypatch):
    monkeypatch.setenv("GRPO_DATA", str(tmp_path))
    rows = [json.dumps({"question": f"q{i}", "answer": f"so\n#### {i}"}) for i in range(1319)]
    (tmp_path / "gsm8k_test.jsonl").write_text("\n".join(rows))
    items = read_items(Data(train="gsm8k:test"), seed=0)
    assert (items[7].prompt, items[7].answer, items[7].columns) == ("q7", "7", {})
    first = read_items(Data(train="addition", options={"count": 5}), seed=0)[0]
    assert first.key == first.columns["pair"]
