"""Whether somebody accepts TCP connections at an address.

in: an address or "localhost", a port; out: "" or why not, in words.
Never: sends a byte, or keeps the connection.
"""

import trio


async def trouble(host: str, port: int, seconds: float) -> str:
    """Why nobody accepts a connection at `host` within `seconds`; "" where somebody does. Raises nothing."""
    try:
        with trio.fail_after(seconds):
            stream = await trio.open_tcp_stream(host, port)
    except trio.TooSlowError:
        return f"no answer within {seconds:g} seconds"
    except OSError as error:
        return str(error)
    await trio.aclose_forcefully(stream)
    return ""
