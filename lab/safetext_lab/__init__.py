"""Trains the embedded model ``tiny`` from openly licensed icons. Not part of the wheel."""
