"""What the scripts have in common: the configuration, the owners' names, the spool, the command line.

Only Python's standard library, 3.9 or newer. Nothing in here writes to the spool but keep.py.
"""
