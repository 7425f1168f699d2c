"""Reward rules, their registry and the isolated runner. Stands alone: imports nothing of grpo or eval.

`rewards.get("accuracy")` gives a rule as a plain function; `rewards.runner.Runner` runs rules in processes
that can be killed. Importing this package loads neither torch nor sympy.
"""

from __future__ import annotations

from rewards.errors import RuleError
from rewards.registry import get, names, rule

__all__ = ["RuleError", "get", "names", "rule"]
