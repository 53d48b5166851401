"""Were the files changed (`file_checks`), and is the safe encoder really loaded (`identify`)?"""
