# syntax=docker/dockerfile:1.9
# Images of LocationNet; docs/howto/containers.md says how to use them.
#
#   docker build -t locationnet .                                the service
#   docker build --target sagemaker -t locationnet-sagemaker .   the service, for Amazon SageMaker
#   docker build --target train -t locationnet-train .           training on CPUs
#   docker build --target gpu -t locationnet-gpu .               training on NVIDIA GPUs
#   docker build --target sagemaker-gpu -t locationnet-sagemaker-gpu .       both, for SageMaker
#   docker build --target sagemaker-train -t locationnet-sagemaker-train .   both, on CPUs

FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

# Dependencies and package in one environment, without compilers or caches: every wheel is locked.
FROM python:3.11.14-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/locationnet \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src
# Dependencies change less often than the code.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-install-project --extra openvino
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-editable --extra openvino

FROM build AS build-train
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-editable --extra train

# What every image for CPUs has in common.
FROM python:3.11.14-slim-bookworm AS runtime
LABEL org.opencontainers.image.title="LocationNet" \
      org.opencontainers.image.description="Says where on Earth a photo was probably taken." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/locationnet/locationnet"
RUN groupadd --gid 10001 locationnet \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp locationnet
ENV PATH=/opt/locationnet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
USER 10001:10001
ENTRYPOINT ["locationnet"]

# Photos and runs are mounted at /work.
FROM runtime AS train
USER 0:0
# What MXNet's wheel links to and does not bring. Versions are those of the base image's release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 libquadmath0 \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=10001 --group=10001 /work
COPY --from=build-train /opt/locationnet /opt/locationnet
USER 10001:10001
WORKDIR /work
CMD ["train", "--help"]

# MXNet 1.9.1 for CUDA 11.2 and cuDNN 8; the wheels hold code for compute capability 5.0 to 8.6.
FROM nvidia/cuda:11.2.2-cudnn8-runtime-ubuntu20.04 AS build-gpu
COPY --from=uv /uv /usr/local/bin/
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/locationnet \
    UV_PYTHON_INSTALL_DIR=/opt/python \
    UV_PYTHON_PREFERENCE=only-managed
WORKDIR /src
RUN uv python install 3.11.14
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --python 3.11.14 --locked --no-dev --no-editable --extra gpu

FROM nvidia/cuda:11.2.2-cudnn8-runtime-ubuntu20.04 AS gpu
LABEL org.opencontainers.image.title="LocationNet, training on GPUs" \
      org.opencontainers.image.description="Trains networks that say where a photo was taken." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/locationnet/locationnet"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 libquadmath0 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 locationnet \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp locationnet \
    && install --directory --owner=10001 --group=10001 /work
COPY --from=build-gpu /opt/python /opt/python
COPY --from=build-gpu /opt/locationnet /opt/locationnet
ENV PATH=/opt/locationnet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["locationnet"]
CMD ["train", "--help"]

FROM runtime AS service
COPY --from=build /opt/locationnet /opt/locationnet
# Every address of the container, so keys are asked for: LOCATIONNET_API_KEYS.
ENV LOCATIONNET_HOST=0.0.0.0
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["locationnet", "health"]
CMD ["serve"]

# SageMaker asks for containers that run as root, and lets nobody else in.
FROM service AS sagemaker
ENV LOCATIONNET_SAGEMAKER=1
# hadolint ignore=DL3002
USER 0:0

# Training and the service in one image: SageMaker's /opt/ml is root's here, too.
FROM train AS sagemaker-train
ENV LOCATIONNET_SAGEMAKER=1
# hadolint ignore=DL3002
USER 0:0

FROM gpu AS sagemaker-gpu
ENV LOCATIONNET_SAGEMAKER=1
# hadolint ignore=DL3002
USER 0:0

# The last stage is what `docker build .` makes.
FROM service
