"""From rows to a verdict. The package is not called ``gate`` because ``safetext_sdk.gate`` is the
function."""
