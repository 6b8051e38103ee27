"""`python -m celery_statsd` is `celery-statsd`."""

from celery_statsd.cli import main

if __name__ == "__main__":
    main()
