"""Watching a run for reward hacking: signs in completions, their course over the steps, and what it may mean.

samples/ ─► signs.py: numbers of one completion ─► course.py: means by step ─► flags.py: rises over a
threshold ─┐
metrics.jsonl: reward, held-out pass@1 ─► flags.py ─► report.py: flags with steps, figures, sample ids
"""
