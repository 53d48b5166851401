"""What was measured, as types, and its files: ``results.jsonl`` and ``summary.json``."""
