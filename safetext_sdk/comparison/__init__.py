"""Several defences of one model side by side: the same prompts, seeds, attacks, detectors and bounds.

`compare` measures, `entries` is what it finds, `reuse` says which reports may be read instead of drawn,
`table` and `pages` show it, `pareto` draws safety against what is kept.
"""
