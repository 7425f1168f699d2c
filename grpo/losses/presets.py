"""Published objectives as rows of one table: a term a kind, with the options in which a row differs.

`rloo` takes RLOO's baseline (arXiv 2402.14740) into the same clipped surrogate, which on-policy has the
gradient of REINFORCE. The paper treats a completion as one action, whose log-prob is the plain sum of its
tokens'; of the aggregations only `constant` keeps that sum, up to a factor that is the same for every batch.
The paper puts its KL into the reward; here it is the loss's own term, off by default.

The mismatch correction is in no paper of the table: it is there because the completions come from an engine.
"""

from __future__ import annotations

from typing import Any

Row = dict[str, dict[str, Any]]

_GRPO: Row = {
    "advantage": {"name": "group_norm"},
    "ratio": {"name": "token"},
    "surrogate": {"name": "clip", "low": 0.2, "high": 0.2},
    "correction": {"name": "token_truncate", "cap": 2.0},
    "kl": {"name": "k3", "coef": 0.0},
    "aggregate": {"name": "sequence_mean"},
}

PRESETS: dict[str, Row] = {
    "grpo": _GRPO,
    "dr_grpo": {**_GRPO, "advantage": {"name": "group_mean"}, "aggregate": {"name": "constant"}},
    "dapo": {
        **_GRPO,
        "surrogate": {"name": "clip", "low": 0.2, "high": 0.28},
        "aggregate": {"name": "token_mean"},
    },
    "rloo": {**_GRPO, "advantage": {"name": "leave_one_out"}, "aggregate": {"name": "constant"}},
}
