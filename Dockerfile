# One image for every process of System2; the command says which one it is.
FROM python:3.13.7-slim-bookworm AS build
WORKDIR /src
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY dispatcher dispatcher
COPY consumers consumers
COPY producers producers
COPY storage storage
COPY ops ops
RUN python -m venv /opt/system2 && /opt/system2/bin/pip install --no-cache-dir .

FROM python:3.13.7-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin system2
COPY --from=build /opt/system2 /opt/system2
COPY examples /opt/system2/examples
ENV PATH=/opt/system2/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/system2
USER 10001
ENTRYPOINT ["system2"]
CMD ["--help"]
