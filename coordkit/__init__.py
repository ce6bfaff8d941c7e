"""coordkit: locks, rate limits, reliable job queues and pub/sub for Python teams."""
