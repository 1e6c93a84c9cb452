# Two images from one file: `web` (also for `migrate` and `scheduler`) holds no torch, `worker` adds it.
#   docker build --target web    -t softvote-web .
#   docker build --target worker -t softvote-worker .
FROM python:3.11-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    SOFTVOTE_HOME=/var/lib/softvote
RUN useradd --uid 10001 --create-home --home-dir /var/lib/softvote --shell /usr/sbin/nologin softvote
WORKDIR /opt/softvote
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY ensembles ensembles
COPY app app
COPY softvote_client softvote_client
COPY workers workers
COPY migrations migrations

FROM base AS web
RUN pip install --constraint constraints.txt --editable .
USER 10001
EXPOSE 8080
# The application is told where the server listens: without people who log in (SOFTVOTE_AUTH=users) it refuses to start.
CMD ["env", "SOFTVOTE_BIND=0.0.0.0:8080", "gunicorn", "--worker-class", "gthread", "--workers", "2", "--threads", "8", "--keep-alive", "75", "--bind", "0.0.0.0:8080", "app.wsgi:application"]

FROM base AS worker
RUN pip install --constraint constraints.txt --editable '.[worker]'
USER 10001
CMD ["softvote", "worker"]
