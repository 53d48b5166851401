"""Hardening: from a model, a policy and a method to a run folder. It knows methods by their interface only.

Read in this order: `harden` (the whole road), `settings` and `recipes` (what is asked for), `retain_set`
(what must stay), `assemble`, `trainable` and `teacher` (who takes part), `trainer` and `gradients` (a step),
`checkpoints`, `finish` (what is written).
"""
