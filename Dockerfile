# celery-statsd as a container: `docker build -t celery-statsd .`
#
# This file has not been run by its authors: their tests have no container engine. What it does is
# tested without one (tests/test_containers.py): these sources install, these variables are
# settings, and the health check tells a well agent from one that is not.

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY celery_statsd celery_statsd
COPY config config
COPY grafana grafana
RUN python -m venv /opt/celery-statsd && /opt/celery-statsd/bin/pip install --no-cache-dir .

FROM python:3.13-slim
COPY --from=build /opt/celery-statsd /opt/celery-statsd
# A user without a name, a home or a shell, who owns the state and nothing else.
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/celery-statsd
USER 65532:65532
# Mount something here that stays, and nothing is lost or counted twice over restarts.
VOLUME /var/lib/celery-statsd
# Every setting is a variable: CELERY_STATSD_BROKER, CELERY_STATSD_SINKS, ... Passwords are better
# mounted as files (named broker, management, ...) into a folder that CREDENTIALS_DIRECTORY names.
ENV PATH=/opt/celery-statsd/bin:$PATH \
    CELERY_STATSD_STATE_DIR=/var/lib/celery-statsd \
    CELERY_STATSD_LOG_FORMAT=json \
    CELERY_STATSD_HTTP=127.0.0.1:9808
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-ISc", "import os, urllib.request as web; web.urlopen('http://' + os.environ['CELERY_STATSD_HTTP'] + '/healthz', timeout=4)"]
ENTRYPOINT ["celery-statsd"]
CMD ["agent"]
