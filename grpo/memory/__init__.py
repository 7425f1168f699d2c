"""How much memory a run will take, whether it fits, and what to change where it does not."""
