"""The client behind `chatsvc ask` and `chatsvc doctor`.

ask        the command: flags, stdin, stdout, Ctrl-C, exit status
doctor     the other command: one reply over all transports at once
diagnosis  pure: what that tells of whatever stands between
reader     joins what is below: one reply, from its question to its end
reading    pure: what has been read, what to ask for next
sse · websocket · text · poll      one transport each: a Step in, signals out
signals    what a transport tells
wire       what the HTTP transports share
"""
