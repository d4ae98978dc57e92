# One image for web, workers, beat, Flower and migrations: the command says which (docker-compose.yml has them all).
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS packages
RUN python -m venv /venv
COPY requirements.txt .
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.txt

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin joyfull \
    && install --directory --owner joyfull --mode 0700 /data
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 ENV=production HOST=0.0.0.0 DATA_DIR=/data
COPY --from=packages /venv /venv
WORKDIR /app
COPY wsgi.py celeryconfig.py ./
COPY common common
COPY web web
COPY worker worker
COPY migrations migrations
RUN python -m compileall -q .
USER joyfull
VOLUME /data
EXPOSE 8000
HEALTHCHECK NONE
CMD ["gunicorn", "--config", "web/gunicorn.conf.py", "wsgi:app"]
