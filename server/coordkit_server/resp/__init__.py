"""Wire format: bytes to argument vectors, replies to bytes. No sockets here."""
