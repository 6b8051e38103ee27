"""The demo, and its parts on real sockets and in real terminals."""
