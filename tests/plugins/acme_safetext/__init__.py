"""Plug-ins for safetext-sdk: a module each, named in pyproject.toml."""
