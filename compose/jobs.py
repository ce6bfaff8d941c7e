"""A queue with one job, for the worker of the compose files; replace it by your own module."""

from coordkit import JobContext, Queue

mail = Queue("mail")


@mail.job(retries=5)
async def welcome(ctx: JobContext, user: int) -> str:
    """Greet a user."""
    return f"welcome, user {user} (job {ctx.id}, attempt {ctx.attempt})"
