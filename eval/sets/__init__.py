"""Data sets, a file a set. Reading them is grpo/data.py's work."""
