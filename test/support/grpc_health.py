"""A server of grpc.health.v1.Health (and of plain HTTP/2), whose answers a test may change while it runs."""
import h2.config
import h2.connection
import h2.events

from support.peers import Peer


class GrpcHealth(Peer):
    """requests: (fields, body) in order of arrival."""

    def __init__(self, listener):
        self.requests = []
        self.status = 1  # of the HealthCheckResponse: SERVING
        self.grpc_status = "0"
        self.goaway = False  # once, behind the next answer
        self.hang = False  # no answer
        self.plain = False  # 200 and nothing else
        super().__init__(listener, GrpcHealth.serve)

    def serve(self, sock):
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        sock.sendall(connection.data_to_send())
        fields, bodies = {}, {}
        while True:
            data = sock.recv(65536)
            if not data:
                return
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    fields[event.stream_id], bodies[event.stream_id] = dict(event.headers), b""
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if isinstance(event, h2.events.StreamEnded):
                    self.requests.append((fields.pop(event.stream_id), bodies.pop(event.stream_id)))
                    if not self.hang:
                        self.answer(connection, event.stream_id)
            sock.sendall(connection.data_to_send())
            if connection.state_machine.state == h2.connection.ConnectionState.CLOSED:
                return

    def answer(self, connection, stream):
        if self.plain:
            connection.send_headers(stream, [(":status", "200")], end_stream=True)
            return
        connection.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        if self.grpc_status == "0":
            connection.send_data(stream, b"\0\0\0\0\x02\x08" + bytes([self.status]))
        connection.send_headers(stream, [("grpc-status", self.grpc_status)], end_stream=True)
        if self.goaway:
            self.goaway = False
            connection.close_connection()
