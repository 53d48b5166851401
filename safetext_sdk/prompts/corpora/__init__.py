"""Shipped grammars and texts that prompts are made from."""
