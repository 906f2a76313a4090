"""The client behind `chatsvc ask`.

ask        the command: flags, stdin, stdout, Ctrl-C, exit status
reader     joins the two below: one reply, from its question to its end
reading    pure: what has been read, what to ask for next
sse · websocket · text · poll      one transport each: a Step in, signals out
signals    what a transport tells
wire       what the HTTP transports share
"""
