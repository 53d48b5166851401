"""Are the files as recorded, and is the hardened encoder the one that is loaded?"""
