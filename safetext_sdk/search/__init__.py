"""Token searches, shared by attacks and by adversarial training: which tokens, put at the free positions of a
prompt, make an objective smallest?

* Pure functions over tensors and callables, batched over prompts AND candidates. They know no model: an
  `Objective` is all that they see of one.
* ``candidates``: which tokens may be used, so that what is found is a text that a user can type.
* ``problem``: prompts, free positions and seeds; what came out. ``objective``: what is searched for.
* Gradients: ``coordinate_gradient``, ``coordinate_descent``. None: ``genetic``, ``bandit``, and
  ``random_search``, the baseline of equal cost that every other has to beat.
"""
