# syntax=docker/dockerfile:1
# The runtime image: fivenines installed, `fivenines serve` as its entry. Images of services build on it:
#
#   FROM fivenines
#   COPY app.py .
#   CMD ["app:service"]
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY docker/build.lock docker/runtime.lock ./
RUN pip install --require-hashes --only-binary :all: --no-deps -r build.lock \
    && python -m venv /opt/fivenines \
    && /opt/fivenines/bin/python -m pip install --require-hashes --only-binary :all: --no-deps -r runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY framework framework
RUN pip wheel --no-build-isolation --no-deps --wheel-dir dist . \
    && /opt/fivenines/bin/python -m pip install --no-index --no-deps dist/fivenines-*.whl \
    && /opt/fivenines/bin/python -m pip uninstall --yes pip \
    && /opt/fivenines/bin/python -m compileall -q /opt/fivenines/lib

FROM python:${PYTHON}-slim
# Probes come over the network: keep the admin port (9000) closed to everybody else.
ENV PATH=/opt/fivenines/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FIVENINES_BIND=0.0.0.0:8000 \
    FIVENINES_ADMIN_BIND=0.0.0.0:9000
RUN groupadd --gid 10001 service \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin service
COPY --from=build /opt/fivenines /opt/fivenines
WORKDIR /service
USER 10001:10001
EXPOSE 8000 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=2s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9000/livez', timeout=1)"]
ENTRYPOINT ["fivenines", "serve"]
CMD ["app:service"]
