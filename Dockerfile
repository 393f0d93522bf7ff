# Both images are arguments, so that a mirror or a company's own base can stand in.
ARG BUILD_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
# Features beside the default ones, such as "nats,otel".
ARG FEATURES=""
WORKDIR /build

# Dependencies first, in a layer that only these three change: the crate itself is an empty shell here.
COPY Cargo.toml Cargo.lock ./
COPY benches benches
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --features "${FEATURES}" --bin wecom-kf \
    && rm -r src

COPY src src
COPY README.md config.example.toml ./
# Newer than the shell's, whatever the clock of the machine that checked them out says.
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --features "${FEATURES}" --bin wecom-kf \
    && install -D --mode=0755 target/release/wecom-kf /out/usr/local/bin/wecom-kf \
    && install -d --mode=0700 --owner=65532 --group=65532 /out/data

FROM ${RUNTIME_IMAGE}
COPY --from=build /out/usr/local/bin/wecom-kf /usr/local/bin/wecom-kf
COPY --from=build --chown=65532:65532 /out/data /data

# The one place that is written to: run with a read-only root file system and a volume here, and let the config say
# url = "sqlite:///data/wecom-kf.db".
VOLUME ["/data"]
WORKDIR /data
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["/usr/local/bin/wecom-kf", "healthcheck", "--address", "127.0.0.1:9090"]
ENTRYPOINT ["/usr/local/bin/wecom-kf"]
CMD ["serve", "--config", "/etc/wecom-kf/config.toml"]
