"""Log lines through RabbitMQ: sent by workers, written to files by the log daemon, followed on a terminal."""
