# The server, as nobody, with a workspace in /data (or NEXTBEST_SERVER_WORKSPACE=postgresql://…).
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock requirements-server.lock requirements-console.lock pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m venv /opt/nextbest \
 && /opt/nextbest/bin/pip install --no-cache-dir -r requirements.lock -r requirements-server.lock -r requirements-console.lock "psycopg[binary]==3.3.9" \
 && /opt/nextbest/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data nextbest && install -d -o nextbest /data
COPY --from=build /opt/nextbest /opt/nextbest
ENV PATH=/opt/nextbest/bin:$PATH PYTHONUNBUFFERED=1 NEXTBEST_WORKSPACE=/data/workspace NEXTBEST_SERVER_FOLDER=/data
USER nextbest
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=2)"]
ENTRYPOINT ["nextbest"]
CMD ["serve", "--host", "0.0.0.0", "--playbook", "bank-kz"]
