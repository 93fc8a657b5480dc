"""A web application that answers with the request as it got it: show_headers.py PORT."""
import http.server
import socketserver
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = "".join(f"{line}\n" for line in [self.requestline, *(f"{k}: {v}" for k, v in self.headers.items())]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    # Not http.server's own, which looks its host's name up: that takes long where no resolver answers.
    allow_reuse_address = daemon_threads = True


if __name__ == "__main__":
    Server(("", int(sys.argv[1])), Handler).serve_forever()
