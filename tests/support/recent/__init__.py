"""Miniature random pipelines of the families with a language model or T5 alone, by kind of encoder."""
