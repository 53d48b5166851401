"""The ``safetext`` command: one command a file (hence more than twelve), no logic. Everything here is also a
Python call in `safetext_sdk`."""
