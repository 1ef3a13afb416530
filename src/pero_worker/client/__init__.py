"""A client of the gateway, for programs: `GatewayClient` speaks version 1."""

from pero_worker.client.client import GatewayClient, GatewayRefused

__all__ = ["GatewayClient", "GatewayRefused"]
