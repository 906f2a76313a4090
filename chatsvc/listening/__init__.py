"""The places where `chatsvc serve` listens (PROTOCOL.md section 8).

    places         all of them, and what the command says of them
    certificates   TLS: the certificate that is good now
    unix           the Unix socket: its file, and what becomes of it
    addresses      TCP sockets: which ones the settings mean, and how they share one port

Each module imports only those below it, and none knows the application: sockets come out.
"""
