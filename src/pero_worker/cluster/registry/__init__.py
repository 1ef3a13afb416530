"""What ZooKeeper and the stores know of a cluster: stages, workers, servers, archives."""
