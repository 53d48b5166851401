"""The ``safetext`` command: one command a file, no logic. Everything here is also a Python call in
`safetext_sdk`."""
