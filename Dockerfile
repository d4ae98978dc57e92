# One image for web, workers, beat, Flower and migrations; the command selects one (see docker-compose.yml).
# It runs as an unprivileged numeric user on a read-only root file system; only /tmp and /data are writable.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS packages
WORKDIR /build
RUN python -m venv /venv
COPY requirements.txt requirements-tracing.txt ./
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: --require-hashes \
        -r requirements.txt -r requirements-tracing.txt \
    && /venv/bin/pip uninstall --yes --quiet pip

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="Joyfull Hub" \
      org.opencontainers.image.description="An open-source hub for AI tools as billed, durable jobs" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="1.0.0"
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin joyfull \
    && install --directory --owner joyfull --mode 0700 /data
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ENV=production HOST=0.0.0.0 DATA_DIR=/data
COPY --from=packages /venv /venv
WORKDIR /app
COPY wsgi.py celeryconfig.py ./
COPY common common
COPY web web
COPY worker worker
COPY migrations migrations
RUN python -m compileall -q .
USER 10001
VOLUME /data
EXPOSE 8000
# For web, the default command; docker-compose.yml has health checks for the other processes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT', '8000')}/ready\", timeout=4)"]
CMD ["gunicorn", "--config", "web/gunicorn.conf.py", "wsgi:app"]
