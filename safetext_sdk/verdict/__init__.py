"""From figures to a verdict: pass, fail or inconclusive.

The package is not called ``gate`` because ``safetext_sdk.gate`` is the function. `decision` has the types and
the rule on bounds, `integrity` asks whether the report is about these files, `checks` what must hold before
any bound means anything, `baseline` compares with an earlier release, `gate` puts them together.
"""
