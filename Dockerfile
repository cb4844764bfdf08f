# A container of nothing but the static binary. It needs the TUN driver, two rights, and a topology:
#
#   docker build -t taprouter --build-arg VERSION="$(git describe --tags --always)" .
#   docker run --device /dev/net/tun --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW \
#       -v ./taprouter.toml:/etc/taprouter/taprouter.toml:ro taprouter
#
# Its networks are the container's own network namespace: share the host's (--network host) for the host's bridges.
# `docker kill -s HUP` reloads the file.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN make build VERSION="$VERSION" && packaging/third-party.sh > third-party

FROM scratch
# Also makes the directory of the socket.
WORKDIR /run/taprouter
COPY --from=build /src/taprouter /usr/bin/taprouter
COPY --from=build /src/third-party /src/LICENSE /usr/share/doc/taprouter/
COPY packaging/taprouter.toml /etc/taprouter/taprouter.toml
ENTRYPOINT ["/usr/bin/taprouter"]
CMD ["run", "/etc/taprouter/taprouter.toml"]
