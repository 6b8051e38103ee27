"""The real servers the tests run against: on loopback, on free ports, in temporary folders.

Each is used as a context manager: entered, it answers; left, nothing of it runs any more.
`tests/install` brings what they need.
"""
