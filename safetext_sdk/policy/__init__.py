"""Policies: what must not be shown, what it turns into, and when a release may pass. No torch in this package."""
