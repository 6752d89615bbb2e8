# nvmc in a small image: docs/install.md#docker
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
ARG EXTRAS=""
ENV NVMC_EXTENSIONS=require PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /usr/local/nvmc \
    && /usr/local/nvmc/bin/pip install -c /src/constraints.txt "/src${EXTRAS:+[${EXTRAS}]}" \
    && /usr/local/nvmc/bin/pip uninstall -y pip setuptools

FROM python:${PYTHON}-slim
COPY --from=build /usr/local/nvmc /usr/local/nvmc
RUN useradd --uid 1000 --create-home nvmc && install -d -o nvmc -g nvmc /work
ENV PATH=/usr/local/nvmc/bin:$PATH
USER nvmc
WORKDIR /work
ENTRYPOINT ["nvmc"]
CMD ["--help"]
