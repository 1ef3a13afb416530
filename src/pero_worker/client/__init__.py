"""Clients for programs: `ClusterClient` submits jobs to a cluster, `GatewayClient` speaks to a gateway over HTTP."""

from pero_worker.client.cluster import ClusterClient, connect
from pero_worker.client.gateway import GatewayClient, GatewayRefused

__all__ = ["ClusterClient", "GatewayClient", "GatewayRefused", "connect"]
