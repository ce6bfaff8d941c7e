"""The sidecar: rate limit checks for programs in any language, over HTTP."""
