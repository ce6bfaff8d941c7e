# lupa ships no types.  What the server uses of it, no more.
