"""What does the verifying side carry along, so that a host without any package index can verify a bundle?

A kit is a folder: the wheels of the verifying side and no package of a vendor's, a lock with each one's SHA-256, a
signed list of all of it, and an installer that needs Python's standard library alone.
"""
