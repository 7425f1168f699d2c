"""How many programs a second rule `code` grades, through a runner.

python benchmarks/code_rate.py [WORKERS]
"""

from __future__ import annotations

import sys
import time

from rewards.runner import RuleSpec, Runner

KINDS = {
    "assertions": ("def add(a, b): return a + b", ["assert add(1, 2) == 3"] * 3),
    "one output": ("print(sum(map(int, input().split())))", [{"input": "1 2", "output": "3"}]),
    "ten outputs": ("print(sum(map(int, input().split())))", [{"input": "1 2", "output": "3"}] * 10),
}
GROUPS, SIZE = 30, 8


def main() -> None:
    """Prints a line a kind of tests."""
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with Runner([RuleSpec("code", timeout=60.0)], workers=workers) as runner:
        for key in range(workers):  # until all have loaded
            runner.submit(key, ["q"], ["no program"], {"tests": [["assert f()"]]})
        list(runner.wait())
        for name, (program, tests) in KINDS.items():
            began = time.monotonic()
            for key in range(GROUPS):
                texts = [f"```python\n{program}\n```"] * SIZE
                runner.submit(key, ["q"] * SIZE, texts, {"tests": [tests] * SIZE})
            scores = [row[0].score for _, rows, _ in runner.wait() for row in rows]
            if set(scores) != {1.0}:
                raise SystemExit(f"{name}: {scores.count(1.0)} of {len(scores)} passed")
            print(f"{name}: {len(scores) / (time.monotonic() - began):.0f} programs a second")


if __name__ == "__main__":
    main()
