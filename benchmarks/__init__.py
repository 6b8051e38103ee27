"""What an event costs: the load, the quick loop, and the drains beside other consumers.

`make bench-heart` is the pipeline alone; `make bench` drains real brokers.
"""
