"""The tests of the alerts."""
