"""What runs inside a sandbox (rewards/sandbox.py). Standard library only; imports nothing but itself."""
