"""SafeText as a plug-in of eval-unlearn: one technique, two metrics."""
