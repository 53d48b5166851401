"""Validation: pictures of the original and the hardened model, scored by detectors. It makes rows and renders
nothing."""
