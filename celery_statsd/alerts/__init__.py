"""Alerts: rows of rules, judged on what Graphite tells, for people and for other programs."""
