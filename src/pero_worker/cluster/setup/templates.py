"""The configuration files of a new cluster's servers and clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pero_worker.wire.queues import MAX_MESSAGE_BYTES, MAX_PAGE_MILLISECONDS

USER = "pero"
ADMIN = "admin"
VHOST = "pero"
CA_FILE = "ca.pem"
KNOWN_HOSTS_FILE = "known_hosts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Ports that the servers of a cluster listen on."""

    zookeeper: int = 2281
    """ZooKeeper, with TLS."""
    amqp: int = 5671
    """RabbitMQ, with TLS."""
    management: int = 15671
    """RabbitMQ's web interface, with TLS."""
    sftp: int = 2222
    """The model store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFile:
    """Contents of the clients' files."""

    host: str
    """Name or address of the servers."""
    ports: Ports
    """Ports that they listen on."""
    password: str = field(repr=False)
    """Password of the user `pero`."""
    ca_cert: str
    """Path of the certificate authority's certificate."""
    known_hosts: str
    """Path of the file with the SFTP server's host key."""
    log_queue: str
    """Queue for the workers' log lines."""

    @property
    def zookeeper(self) -> str:
        return _address(self.host, self.ports.zookeeper)

    @property
    def broker(self) -> str:
        return _address(self.host, self.ports.amqp)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def rabbitmq(at: Path, ports: Ports) -> str:
    return f"""\
listeners.tcp = none
listeners.ssl.default = {ports.amqp}
ssl_options.cacertfile = {at}/ca.pem
ssl_options.certfile = {at}/server.pem
ssl_options.keyfile = {at}/server.key
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
management.ssl.port = {ports.management}
management.ssl.cacertfile = {at}/ca.pem
management.ssl.certfile = {at}/server.pem
management.ssl.keyfile = {at}/server.key
load_definitions = {at}/definitions.json
max_message_size = {MAX_MESSAGE_BYTES}
consumer_timeout = {MAX_PAGE_MILLISECONDS}
"""


def zookeeper(at: Path, ports: Ports) -> str:
    return f"""\
tickTime=2000
dataDir={at}/zookeeper-data
secureClientPort={ports.zookeeper}
maxClientCnxns=0
admin.enableServer=false
autopurge.snapRetainCount=5
autopurge.purgeInterval=24
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
ssl.keyStore.location={at}/zookeeper.pem
ssl.keyStore.type=PEM
ssl.trustStore.location={at}/ca.pem
ssl.trustStore.type=PEM
ssl.clientAuth=none
authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider
enforce.auth.enabled=true
enforce.auth.schemes=sasl
"""


def jaas(password: str) -> str:
    """Returns the file for java's -Djava.security.auth.login.config=FILE."""
    return f"""\
Server {{
  org.apache.zookeeper.server.auth.DigestLoginModule required
  user_{USER}="{password}";
}};
"""


def client(cluster: ClientFile) -> str:
    return f"""\
# For: pero-worker COMMAND --config-file client.toml, or PERO_WORKER_CONFIG=client.toml
# The files that it names lie beside it.
zookeeper_servers = ["{cluster.zookeeper}"]
broker_servers = ["{cluster.broker}"]
vhost = "{VHOST}"
username = "{USER}"
password = "{cluster.password}"
ca_cert = "{CA_FILE}"
known_hosts = "{KNOWN_HOSTS_FILE}"
"""


def worker_ini(cluster: ClientFile) -> str:
    """Returns an ini file for upstream's programs and ours; only ours read `vhost` and `known_hosts`."""
    common = f"""\
zookeeper_servers = {cluster.zookeeper}
username = {USER}
password = {cluster.password}
ca_cert = {cluster.ca_cert}
vhost = {VHOST}
known_hosts = {cluster.known_hosts}
"""
    return f"""\
[WORKER]
{common}log_queue = {cluster.log_queue}

[WATCHDOG]
{common}
[LOGD]
{common}log_queue = {cluster.log_queue}
output_dir = logs
log_rotation_period = 1440
number_of_files = 30
"""


def compose(ports: Ports) -> str:
    """Returns a Compose file whose containers start as root to read the private files, then drop their privileges or
    have none."""
    return f"""\
services:
  rabbitmq:
    image: rabbitmq:4-management
    hostname: rabbitmq  # RabbitMQ's data belong to this name
    restart: unless-stopped
    user: root
    entrypoint: [rabbitmq-server]
    environment:
      RABBITMQ_CONFIG_FILE: /cluster/rabbitmq.conf
      RABBITMQ_ENABLED_PLUGINS_FILE: /cluster/enabled_plugins
    ports: ["{ports.amqp}:{ports.amqp}", "{ports.management}:{ports.management}"]
    volumes:
      - {{type: volume, source: rabbitmq, target: /var/lib/rabbitmq}}
      - ./rabbitmq.conf:/cluster/rabbitmq.conf:ro
      - ./enabled_plugins:/cluster/enabled_plugins:ro
      - ./definitions.json:/cluster/definitions.json:ro
      - ./ca.pem:/cluster/ca.pem:ro
      - ./server.pem:/cluster/server.pem:ro
      - ./server.key:/cluster/server.key:ro
  zookeeper:
    image: zookeeper:3.9
    restart: unless-stopped
    user: root
    entrypoint: [zkServer.sh, --config, /cluster, start-foreground]
    environment:
      SERVER_JVMFLAGS: -Djava.security.auth.login.config=/cluster/jaas.conf
    ports: ["{ports.zookeeper}:{ports.zookeeper}"]
    volumes:
      - {{type: volume, source: zookeeper, target: /cluster/zookeeper-data}}
      - ./zoo.cfg:/cluster/zoo.cfg:ro
      - ./jaas.conf:/cluster/jaas.conf:ro
      - ./zookeeper.pem:/cluster/zookeeper.pem:ro
      - ./ca.pem:/cluster/ca.pem:ro
  sftp:
    image: atmoz/sftp:debian
    restart: unless-stopped
    ports: ["{ports.sftp}:22"]
    volumes:
      - {{type: volume, source: models, target: /home/{USER}}}
      - ./users.conf:/etc/sftp/users.conf:ro
      - ./ssh_host_ed25519_key:/etc/ssh/ssh_host_ed25519_key:ro
volumes:
  rabbitmq:
  zookeeper:
  models:
"""
