"""What an event costs: the load, the quick loops, and the drains beside other consumers.

`make bench-heart` is the pipeline alone, `make bench-growth` the same as its tables grow, and
`make bench` drains real brokers.
"""
