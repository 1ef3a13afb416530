#!/bin/sh
# Creates .venv with everything that the commands of the README need: the program, pero-ocr, and, where apt is,
# RabbitMQ and ZooKeeper for `pero-worker up`.
set -eu
cd "$(dirname "$0")"
make install
scripts/apt-install.sh rabbitmq-server zookeeper ||
    echo "RabbitMQ and ZooKeeper are not installed here: use compose.yaml, or servers you have" >&2
echo "now: . ./.venv/bin/activate"
