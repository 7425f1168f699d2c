"""Splits that are fair and do not leak, tokens as the template wants them, a stream that can be resumed."""

import json
import logging
import random
from collections import Counter
from pathlib import Path

import pytest

from eval.sets import addition
from grpo.data import PromptStream, check_splits, open_data, open_set
from grpo.errors import UserError
from grpo.hashing import half, in_holdout
from grpo.recipe import Data
from grpo.rows import read_items
from grpo.types import Prompt

TRIPLES = list(addition.rows("train", digits=3, count=8192))


@pytest.fixture(scope="module")
def tokenizer():
    """A character tokenizer that puts a BOS in front, as Llama's and Gemma's do."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = {"<bos>": 0, "<unk>": 1} | {letter: i for i, letter in enumerate("0123456789+=[]user", 2)}
    inner = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<bos>", unk_token="<unk>")
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    return tokenizer


def opened(data: Data, tokenizer, longest: int = 100):
    return open_data(read_items(data, seed=0), data, tokenizer=tokenizer, max_prompt_tokens=longest)


def write(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def check_fair(held, rows) -> None:
    """No kind of problem is missing from what is held out or from what is not; the share is as asked."""
    sides = {True: [], False: []}
    for row in rows:
        sides[held(row["pair"])].append(row)
    assert abs(len(sides[True]) / len(rows) - 0.1) < 0.02
    for side in sides.values():
        assert {row["answer"][-1] for row in side} == set("0123456789")
        assert {len(row["answer"]) for row in side} == {3, 4}
        shares = Counter(row["answer"][-1] for row in side)
        assert max(shares.values()) < 2 * min(shares.values())


def test_no_last_digit_and_no_length_is_missing_from_either_side():
    check_fair(lambda pair: in_holdout(pair, 0.1), TRIPLES)


def test_the_check_sees_a_residue_split():
    with pytest.raises(AssertionError):
        check_fair(lambda pair: sum(map(int, pair.split("+"))) % 10 == 0, TRIPLES)


def test_halves_are_even_and_independent_of_the_holdout():
    held = [row["pair"] for row in TRIPLES if in_holdout(row["pair"], 0.1)]
    assert abs(sum(half(key) == "select" for key in held) / len(held) - 0.5) < 0.07


def test_a_larger_holdout_contains_the_smaller():
    assert all(in_holdout(row["pair"], 0.2) for row in TRIPLES if in_holdout(row["pair"], 0.1))
    assert not any(in_holdout(row["pair"], 0.0) for row in TRIPLES)


def test_splits_cover_the_rows_and_share_no_key(tokenizer):
    splits = opened(Data(train="addition", holdout=0.1, options={"digits": 2, "count": 2000}), tokenizer)
    parts = {
        name: {p.columns["pair"] for p in getattr(splits, name)} for name in ("train", "select", "report")
    }
    assert sum(map(len, parts.values())) == 2000
    assert not parts["train"] & parts["select"] | parts["train"] & parts["report"]
    assert not parts["select"] & parts["report"]
    assert all(in_holdout(key, 0.1) for key in parts["select"] | parts["report"])
    ids = [prompt.id for name in parts for prompt in getattr(splits, name)]
    assert len(set(ids)) == 2000


def test_rows_that_share_a_key_stay_together_under_different_ids(tmp_path, tokenizer):
    rows = [{"prompt": f"{x}={y}", "answer": "0", "kind": f"k{x}"} for x in range(100, 200) for y in range(3)]
    data = Data(train=write(tmp_path / "r.jsonl", rows), split_key="kind", holdout=0.3)
    splits = opened(data, tokenizer)
    for part in (splits.train, splits.select, splits.report):
        assert set(Counter(prompt.columns["kind"] for prompt in part).values()) == {3}
    assert len({prompt.id for prompt in splits.train}) == len(splits.train)


def test_held_out_prompts_come_in_hash_order_whatever_the_order_of_the_rows(tmp_path, tokenizer):
    shuffled = random.Random(1).sample(TRIPLES[:2000], 2000)
    parts = []
    for rows in (TRIPLES[:2000], shuffled):
        data = Data(train=write(tmp_path / "r.jsonl", rows), split_key="pair", holdout=0.1)
        parts.append(opened(data, tokenizer))
    assert [p.id for p in parts[0].select] == [p.id for p in parts[1].select]
    assert [p.id for p in parts[0].train] != [p.id for p in parts[1].train]


def test_the_tokenizer_adds_its_own_tokens_unless_the_template_did(tokenizer):
    options = {"digits": 1, "count": 45}
    raw = opened(Data(train="addition", holdout=0.5, options=options), tokenizer).train[0]
    assert raw.text == raw.prompt
    assert raw.token_ids[0] == 0
    assert tokenizer.decode(raw.token_ids[1:]).replace(" ", "") == raw.text
    chat = opened(Data(train="addition", holdout=0.5, options=options, template="chat"), tokenizer).train[0]
    assert chat.text == f"[user]{raw.prompt}"
    assert 0 not in chat.token_ids


def count(splits):
    return len(splits.train) + len(splits.select) + len(splits.report)


def test_prompts_that_are_too_long_are_dropped_and_counted_or_refused(tmp_path, tokenizer, caplog):
    rows = [{"prompt": f"{x}=", "answer": "0"} for x in (*range(10, 99), 1000000)]
    data = Data(train=write(tmp_path / "r.jsonl", rows), holdout=0.2)
    assert count(opened(data, tokenizer, longest=9)) == 90  # seven digits, = and BOS
    with caplog.at_level(logging.WARNING):
        assert count(opened(data, tokenizer, longest=8)) == 89
    assert "1 of 90 prompts are longer than the 8 tokens" in caplog.text
    with pytest.raises(UserError, match=r"1 of 90 prompts are longer.*or set data.overlong: drop"):
        opened(data.model_copy(update={"overlong": "error"}), tokenizer, longest=8)
    with pytest.raises(UserError, match=r"90 of 90 prompts are longer.*or lower rollout.max_tokens"):
        opened(data, tokenizer, longest=2)


def test_a_holdout_that_leaves_a_split_empty_is_refused(tmp_path, tokenizer):
    rows = [{"prompt": f"{x}=", "answer": "0"} for x in range(4)]
    data = Data(train=write(tmp_path / "r.jsonl", rows), holdout=0.02)
    with pytest.raises(UserError, match=r"data.holdout: a holdout of 0.02 leaves none of 4 prompts"):
        opened(data, tokenizer)


def test_a_step_needs_as_many_prompts():
    counts, data = {"train": 17, "select": 1, "report": 2}, Data(train="addition")
    check_splits(counts, data, 17)
    with pytest.raises(
        UserError, match=r"train.prompts_per_step: 18 prompts a step, but there are 17 to train"
    ):
        check_splits(counts, data, 18)


def test_open_set_reads_files_with_the_columns_of_the_run_and_sets_with_their_own(tmp_path, tokenizer):
    train = write(tmp_path / "a.jsonl", [{"q": "1+1=", "a": "2"}])
    other = write(tmp_path / "b.jsonl", [{"q": f"{x}=", "a": "#3"} for x in range(5)])
    data = Data(train=train, columns={"prompt": "q", "answer": "a"}, gold="#(.)")
    found = open_set(other, data, tokenizer=tokenizer, max_prompt_tokens=9, seed=0)
    assert sorted(prompt.prompt for prompt in found) == ["0=", "1=", "2=", "3=", "4="]
    assert {prompt.answer for prompt in found} == {"3"}
    sums = open_set("addition", data, tokenizer=tokenizer, max_prompt_tokens=99, seed=0)
    assert len(sums) == 8192


def prompts(count: int) -> list[Prompt]:
    return [Prompt(str(i), str(i), None, str(i), (i,)) for i in range(count)]


def ids(taken: list[Prompt]) -> list[str]:
    return [prompt.id for prompt in taken]


@pytest.mark.parametrize("per_take", [1, 3, 4, 7, 10])
def test_every_epoch_holds_each_prompt_once_and_no_take_holds_one_twice(per_take):
    stream = PromptStream(prompts(10), seed=3)
    takes = [ids(stream.take(per_take)) for _ in range(60)]
    assert all(len(set(taken)) == per_take for taken in takes)
    flat = [name for taken in takes for name in taken]
    seen = Counter(flat)
    assert (
        max(seen.values()) - min(seen.values()) <= 1
        if 60 * per_take % 10
        else set(seen.values()) == {6 * per_take}
    )


def test_epochs_differ_in_order_and_the_seed_decides_them():
    first, second = PromptStream(prompts(50), seed=0), PromptStream(prompts(50), seed=0)
    epochs = [ids(first.take(50)) for _ in range(3)]
    assert epochs == [ids(second.take(50)) for _ in range(3)]
    assert len(set(map(tuple, epochs))) == 3
    assert epochs[0] != ids(PromptStream(prompts(50), seed=1).take(50))


def test_a_restored_stream_goes_on_exactly():
    for done in range(25):
        stream = PromptStream(prompts(10), seed=3)
        for _ in range(done):
            stream.take(4)
        state = json.loads(json.dumps(stream.state()))
        expected = [ids(stream.take(4)) for _ in range(10)]
        resumed = PromptStream(prompts(10), seed=3)
        resumed.restore(state)
        assert [ids(resumed.take(4)) for _ in range(10)] == expected


@pytest.mark.parametrize("other", [PromptStream(prompts(11), seed=3), PromptStream(prompts(10), seed=4)])
def test_a_state_of_other_data_or_another_seed_is_refused(other):
    with pytest.raises(UserError, match="changed since the checkpoint"):
        other.restore(PromptStream(prompts(10), seed=3).state())


def test_more_prompts_a_step_than_there_are():
    with pytest.raises(
        UserError, match=r"train.prompts_per_step: 11 prompts a step, but there are 10 to train on"
    ):
        PromptStream(prompts(10), seed=0).take(11)
