"""Hardening: from a model, a policy and a method to a run folder. It knows methods by their interface
only."""
