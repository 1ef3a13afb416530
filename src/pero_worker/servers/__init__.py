"""Private RabbitMQ, ZooKeeper, FTP and SFTP servers on this machine: `pero-worker up`, and the tests."""
