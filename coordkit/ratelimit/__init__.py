"""Rate limits: `GCRA` and `SlidingWindow` say what is admitted, `Limiter` and `AsyncLimiter` ask the server."""
