"""HTTP fields that tell a client its limits.

Source: draft-ietf-httpapi-ratelimit-headers (RateLimit, RateLimit-Policy: lists of structured fields, RFC 9651) and
RFC 9110, section 10.2.3 (Retry-After).  Times are whole seconds, rounded up.
"""

import math

from coordkit.ratelimit.decision import Decision
from coordkit.sidecar.config import Rule

Fields = list[tuple[bytes, bytes]]


def rate_limit_fields(rule: Rule, decision: Decision) -> Fields:
    """RateLimit-Policy, RateLimit unless the server gave no answer, and Retry-After for a refusal."""
    algorithm = rule.algorithm
    policy = f'"{rule.name}";q={algorithm.capacity}'
    if algorithm.window_s >= 1:  # the field has whole seconds only
        policy += f";w={math.ceil(algorithm.window_s)}"
    fields = [(b"ratelimit-policy", policy.encode())]
    retry_s = max(1, math.ceil(decision.retry_after))
    if not decision.degraded:
        # Retry-After must not come before `t`.
        reset_s = math.ceil(decision.reset_after) if decision.allowed else retry_s
        fields.append((b"ratelimit", f'"{rule.name}";r={decision.remaining};t={reset_s}'.encode()))
    if not decision.allowed:
        fields.append((b"retry-after", b"%d" % retry_s))
    return fields
