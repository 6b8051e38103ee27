"""`celery-statsd top`: tasks, workers and queues, live in a terminal. It begins in `view`.

    source --body--> ear (pipeline, witness) --Batch--> reel (history) --Frame--+
                                                                                v
                                                         key --> state --> painter --lines--> screen

What is drawn is made of values alone (`painter.paint`); only `ear` and `screen` touch the world.
"""
