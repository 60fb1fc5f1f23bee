# One image for every process of every service: DJANGO_SETTINGS_MODULE says which service it is, the
# command which process (docs/operations.md, "In containers"; docs/adr/0028).
#
#   docker build --tag ticketing .
#   docker build --tag ticketing-demo --target demo .      with the payment sandbox and demo data
#
# The base brings Python 3.11 or newer with its venv module, and nothing else is installed into it.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Where no index is reached, put the locked wheels into wheelhouse/ beside this file and build with
# --build-arg PIP_NO_INDEX=1.
ARG PIP_NO_INDEX=""
WORKDIR /build
COPY requirements/base.txt wheelhouse* /build/wheelhouse/
# pip stays in this stage: it installs into an environment that has none.
RUN python3 -m venv /build/pip \
 && python3 -m venv --without-pip /opt/venv \
 && /build/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes \
      --only-binary :all: --find-links /build/wheelhouse --requirement /build/wheelhouse/base.txt
WORKDIR /app
COPY manage.py ./
COPY avro ./avro
COPY ticketing ./ticketing
COPY apps ./apps
# The root file system is read-only where this runs, so bytecode and static files are made here.
# The settings are of this command alone: it opens no connection.
RUN DJANGO_SETTINGS_MODULE=ticketing.settings.tickets PUBLIC_URL=http://127.0.0.1 \
    SECRET_KEY=for-collectstatic-alone-0123456789-abcdefghijklmnopqrstuvwxyz \
    JWT_KEY=for-collectstatic-alone-0123456789-abcdefghijklmnopqrstuvwxyz \
    MONGODB_URI=mongodb://nowhere KAFKA_BOOTSTRAP_SERVERS=nowhere:9092 SCHEMA_REGISTRY_URL=http://nowhere \
    /opt/venv/bin/python manage.py collectstatic --no-input --verbosity=0 --ignore=redoc --ignore=rest_framework \
 && /opt/venv/bin/python -m compileall -q /app /opt/venv

FROM ${PYTHON_IMAGE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ticketing" \
      org.opencontainers.image.description="Every process of the ticket marketplace's services" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    METRICS_ADDRESS=0.0.0.0:9000
# A volume that is mounted here for the first time takes over this owner.
RUN install --directory --owner=10001 --group=10001 /var/lib/ticketing/mail
WORKDIR /app
USER 10001:10001
EXPOSE 8000 9000
# Every process answers there, a worker for as long as its loop goes round.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-m", "ticketing.healthcheck"]
# The web process; its options are those of deploy/local/words.py.
CMD ["python", "-m", "gunicorn", "ticketing.wsgi", "--access-logfile", "-", "--bind", "0.0.0.0:8000", "--bind", "0.0.0.0:9000", "--worker-class", "gthread", "--workers", "1", "--threads", "8", "--graceful-timeout", "5", "--keep-alive", "75", "--no-control-socket"]

FROM runtime AS demo
LABEL org.opencontainers.image.description="The same, with the payment sandbox and what compose.yaml needs"
COPY deploy/__init__.py ./deploy/__init__.py
COPY deploy/sandbox ./deploy/sandbox
COPY deploy/compose ./deploy/compose
COPY deploy/local/Caddyfile ./deploy/local/Caddyfile
COPY deploy/local/pages ./deploy/local/pages
USER 0:0
RUN install --directory --owner=10001 --group=10001 \
      /var/lib/ticketing/gateway /var/lib/ticketing/sandbox /var/lib/ticketing/secrets
USER 10001:10001

# The last stage is what `docker build` makes unless told otherwise.
FROM runtime AS service
