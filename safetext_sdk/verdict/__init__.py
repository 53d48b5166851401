"""From figures to a verdict: pass, fail or inconclusive.

The package is not called ``gate`` because ``safetext_sdk.gate`` is the function. `decision` has the types and
the rule on bounds, `checks` what must hold before any bound means anything, `baseline` the comparison with an
earlier release, `gate` puts them together.
"""
