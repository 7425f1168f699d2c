"""The text of each token of a completion."""

import random
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from grpo.pieces import logprobs_of, pieces_of
from grpo.types import Rollout


def rollout(token_ids, prompt_ids=(1,), sampled=None) -> Rollout:
    n = len(token_ids)
    drawn = (True,) * n if sampled is None else sampled
    return Rollout("p", 0, tuple(prompt_ids), tuple(token_ids), drawn, (-1.0,) * n, (0,) * n, "", "stop")


@pytest.fixture(scope="module")
def by_bytes() -> Tokenizer:
    """Byte-level BPE, as GPT-2, Qwen and Llama 3 have it."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        ["hello world"] * 5, trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet)
    )
    return made


@pytest.fixture(scope="module")
def with_fallback() -> Tokenizer:
    """Word pieces with a space in front and single bytes, as Llama 2 and Gemma have it."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"▁a": 256, "b": 257, "<unk>": 258}
    made = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    strip = decoders.Strip(" ", 1, 0)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip]
    )
    return made


def split(tokenizer, token_ids, prompt_ids=(1,)) -> list[str]:
    pieces = pieces_of(SimpleNamespace(backend_tokenizer=tokenizer))
    assert pieces is not None
    return pieces(rollout(token_ids, prompt_ids))


def test_pieces_joined_are_the_completion(by_bytes):
    text = "hello 😀 wörld\n"
    ids = by_bytes.encode(text).ids
    found = split(by_bytes, ids)
    assert len(found) == len(ids)
    assert "".join(found) == text
    assert found[0] == "hello"
    at = found.index("😀")
    assert found[at - 3 : at] == ["", "", ""]  # the character stands with its last byte


RANGES = [(0x20, 0x7F), (0xA0, 0x800), (0x4E00, 0xA000), (0x1F300, 0x1F600)]  # of 1, 2, 3 and 4 bytes


def characters(tokenizer, generator, count) -> list[int]:
    """Tokens of random characters and words, as a policy may draw them: not as the tokenizer would split."""
    made = []
    for _ in range(count):
        text = generator.choice([" a", "b", "hello", *(chr(generator.randrange(*ends)) for ends in RANGES)])
        words = {" a": [256], "b": [257]} if tokenizer.token_to_id("▁a") else {}
        by_byte = [tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in text.encode()]
        made += words.get(text) or (tokenizer.encode(text).ids if None in by_byte else by_byte)
    return made


@pytest.mark.parametrize("name", ["by_bytes", "with_fallback"])
def test_pieces_of_any_characters_joined_are_what_the_tokenizer_decodes(name, request):
    tokenizer, generator = request.getfixturevalue(name), random.Random(0)
    for _ in range(300):
        ids, prompt = (characters(tokenizer, generator, generator.randrange(n)) for n in (12, 6))
        alone, after = split(tokenizer, ids, prompt_ids=[]), split(tokenizer, ids, prompt)
        assert len(alone) == len(after) == len(ids)
        assert "".join(alone) == tokenizer.decode(ids)
        assert tokenizer.decode(prompt) + "".join(after) == tokenizer.decode(prompt + ids)


def test_pieces_of_any_bytes_joined_are_what_the_tokenizer_decodes_but_for_replacements(by_bytes):
    generator, cut = random.Random(0), 0
    for _ in range(300):
        ids = [generator.randrange(by_bytes.get_vocab_size()) for _ in range(20)]
        joined, whole = "".join(split(by_bytes, ids, prompt_ids=[])), by_bytes.decode(ids)
        assert joined.replace("�", "") == whole.replace("�", "")
        ids = characters(by_bytes, generator, 5)[:-1]  # only its last character can be none
        assert "".join(split(by_bytes, ids, prompt_ids=[])) == by_bytes.decode(ids)
        cut += "�" in by_bytes.decode(ids)
    assert cut > 50


def test_a_character_cut_off_is_a_replacement_character(by_bytes):
    ids = by_bytes.encode("hello 😀").ids
    found = split(by_bytes, ids[:-1])
    assert "".join(found) == "hello �"
    assert split(by_bytes, []) == []


def test_a_space_before_the_first_token_is_kept(with_fallback):
    assert split(with_fallback, [256, 257], prompt_ids=[257]) == [" a", "b"]
    assert split(with_fallback, [256, 257], prompt_ids=[]) == ["a", "b"]  # nothing stands before it


def test_no_sequence_of_tokens_raises(by_bytes, with_fallback):
    generator = random.Random(0)
    for tokenizer, size in ((by_bytes, 256), (with_fallback, 259)):
        for _ in range(300):
            ids = [generator.randrange(size) for _ in range(20)]
            assert len(split(tokenizer, ids)) == len(ids)


def test_a_tokenizer_of_another_kind_gives_none():
    assert pieces_of(SimpleNamespace()) is None


def test_log_probs_are_those_of_sampled_tokens():
    assert logprobs_of(rollout([5, 6], sampled=(True, False))) == [-1.0, None]
