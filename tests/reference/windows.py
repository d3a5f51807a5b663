"""Window starts, written from docs/data.md 5.2 with plain loops."""


def plain(n_frames: int, length: int) -> list[int]:
    return [i * length for i in range(n_frames // length)]


def dense(all_frames: list[int], length: int) -> list[tuple[int, int]]:
    """(recording, start) in released order: offset outermost, then recording, then i."""
    windows = []
    step = length // 2
    for offset in range(length):
        for recording, n_frames in enumerate(all_frames):
            i = 0
            while offset + i * step + length <= n_frames:
                windows.append((recording, offset + i * step))
                i += 1
    return windows
