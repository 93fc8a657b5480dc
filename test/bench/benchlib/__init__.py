"""The bench's parts; run.py at the top is the program."""
