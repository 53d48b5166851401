"""`safetext plan` for every shipped policy, as the table of docs/policies.md.

    python benchmarks/policy_plans.py            # prints it, a minute on one core
    python benchmarks/policy_plans.py --write    # into the page's source; then: safetext policy schema --page

The slow test of ``tests/diagnostics/test_plan_text.py`` holds the written table against the policies.
"""

from __future__ import annotations

import argparse

from safetext_sdk.diagnostics.plan_text import PLANS, shipped_table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="Replace the table that the page includes.")
    table = shipped_table() + "\n"
    if parser.parse_args().write:
        PLANS.write_text(table, encoding="utf-8")
    else:
        print(table, end="")


if __name__ == "__main__":
    main()
