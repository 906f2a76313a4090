"""The service over the wire: real sockets, raw bytes, real clients."""
