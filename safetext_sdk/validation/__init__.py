"""Validation: pictures of the original and the hardened model, scored by detectors. It makes rows and renders
nothing.

More than twelve files, because each is one step of the way from a question to a row, and can be read alone.
What is asked: `plan`, `sample_plan`, `set_sizes`, `items`, `own_prompts`. Of whom: `subjects`, `binding`,
`measurable`, `session`. What is drawn and looked at: `generate`, `images`, `keys`, `picture_grid`, `score`,
`keep`, `attacked`, `run_attacks`, `embeddings`, `encoder_tier`. What is said of it: `facts`, `telling`.
`validate` puts them in order.
"""
