"""Private RabbitMQ, ZooKeeper, FTP and SFTP servers on this machine, for `pero-worker up` and the tests."""
