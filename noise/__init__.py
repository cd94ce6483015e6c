"""A provider that orders and delivers end-to-end encrypted messages, and that nobody has to trust."""
