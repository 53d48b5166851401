"""What a user asks about an installation or a policy before a run."""
