"""What the integration tests, the bench and the quick start stand on: pods, processes, peers, proxies. See README.md."""
