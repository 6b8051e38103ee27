"""pystatsd's clients as the sinks use them: what arrived is counted, what is slow is told."""

import socket

import pytest

from celery_statsd.sinks import stream
from celery_statsd.sinks.base import Tally
from celery_statsd.sinks.places import Place, aimed
from celery_statsd.sinks.wire import TcpClient, UdpClient

LINE = "celery.x.task.t.sent.all"


def udp_client(port, tally):
    client = UdpClient(aimed(Place(socket.AF_INET, ("127.0.0.1", port))), 64, 1.0, tally)
    client.begin()
    return client


def test_udp_counts_lines_packets_and_bytes(datagrams):
    """Each line that went out is taken, each datagram a packet."""
    server, tally = datagrams(), Tally()
    client = udp_client(server.port, tally)
    client.send_all([f"{LINE}:1|c"] * 5)
    client.close()

    assert (5, 3, 0) == (client.taken, tally.packets, tally.dropped)
    assert tally.bytes == 5 * len(f"{LINE}:1|c") + 2


def test_udp_drops_and_counts_a_line_that_fits_no_datagram(datagrams):
    """It is never split."""
    tally = Tally()
    client = udp_client(datagrams().port, tally)
    client.incr("a" * 100)
    client.close()

    assert (0, 1) == (tally.packets, tally.dropped)


def test_tcp_keeps_what_a_slow_peer_has_not_taken_in_hand(listen):
    """Slow is told; `resume` goes on where it stopped, and each line is taken once."""
    server, tally = listen(deaf=True), Tally()
    client = TcpClient("127.0.0.1", server.port, timeout=0.3, tally=tally)
    pipeline = client.pipeline()
    for number in range(60_000):
        pipeline.incr(f"{'a' * 80}{number}")
    with pytest.raises(stream.Slow):
        pipeline.send()
    with pytest.raises(stream.Slow):
        client.resume()
    before = client.taken
    server.listen_again()
    client._timeout = 10.0
    client.resume()
    client.close()

    assert before < 60_000
    assert 60_000 == client.taken == len(set(server.wait_for_lines(60_000)))
    assert tally.bytes == sum(len(line) + 1 for line in server.wait_for_lines(60_000))
