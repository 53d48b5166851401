"""Shipped prompts: texts and grammars as data (``data/*.jsonl``), and the sources that read them.

The first line of a data file says where its texts come from, under which licence, and what they are for.
"""
