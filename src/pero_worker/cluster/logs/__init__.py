"""Log lines through RabbitMQ: sent by workers, written by the log daemon, followed on a terminal."""
