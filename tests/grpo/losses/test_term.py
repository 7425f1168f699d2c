import json
import subprocess
import sys

import pytest

from grpo.errors import UserError
from grpo.losses import PRESETS, term
from grpo.losses.surrogate import clip
from grpo.terms import KINDS, options_of

DIFFERENCES = {
    "grpo": {},
    "dr_grpo": {"advantage": {"name": "group_mean"}, "aggregate": {"name": "constant"}},
    "dapo": {"surrogate": {"name": "clip", "low": 0.2, "high": 0.28}, "aggregate": {"name": "token_mean"}},
    "rloo": {"advantage": {"name": "leave_one_out"}, "aggregate": {"name": "constant"}},
}


def test_term_finds_what_is_registered():
    assert term("surrogate", "clip") is clip


def test_an_unknown_name_gets_the_nearest_and_all_others():
    with pytest.raises(UserError) as caught:
        term("aggregate", "token_meen")
    line = str(caught.value)
    assert line.startswith("algorithm.aggregate: unknown aggregate 'token_meen'")
    assert "Did you mean token_mean?" in line
    assert "constant, sequence_mean, token_mean" in line
    assert "\n" not in line


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_one_registered_term_a_kind_with_options_that_it_has(name):
    assert set(PRESETS[name]) == set(KINDS)
    for kind, row in PRESETS[name].items():
        options = options_of(term(kind, row["name"]))
        for option, value in row.items():
            if option != "name":
                assert isinstance(value, options[option].type)


def test_presets_are_what_the_papers_say():
    base = PRESETS["grpo"]
    assert base == {
        "advantage": {"name": "group_norm"},
        "ratio": {"name": "token"},
        "surrogate": {"name": "clip", "low": 0.2, "high": 0.2},
        "correction": {"name": "token_truncate", "cap": 2.0},
        "kl": {"name": "k3", "coef": 0.0},
        "aggregate": {"name": "sequence_mean"},
    }
    assert {name: {**base, **rows} for name, rows in DIFFERENCES.items()} == PRESETS


def test_terms_load_without_torch():
    code = (
        "import sys, json, grpo.losses, grpo.losses.objective, grpo.tally, grpo.advantages; "
        "print(json.dumps([m for m in ('torch', 'transformers', 'vllm', 'sympy') if m in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == []
