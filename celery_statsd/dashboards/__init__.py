"""Dashboards for Grafana on Graphite: what stands on them, as rows, and who writes them."""
