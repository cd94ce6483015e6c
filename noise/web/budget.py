"""What many connections may hold together, in bytes. Knows nothing of what they hold."""


class Budget:
    """`used` of `bytes_max`: whoever holds something adds it, and takes it off again."""

    __slots__ = ("bytes_max", "used")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.used = 0

    def has_room(self, size: int) -> bool:
        return self.used + size <= self.bytes_max
