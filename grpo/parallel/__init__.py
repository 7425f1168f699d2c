"""More than one process: who they are, what they exchange, who tells how a run ended (docs/parallel.md)."""
