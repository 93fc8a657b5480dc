"""The scenarios, in the order in which they run and are reported."""
from benchlib.scenarios.http1 import AccessLog, Http1
from benchlib.scenarios.http2 import GrpcBulk, GrpcStream, Http2
from benchlib.scenarios.idle import Idle
from benchlib.scenarios.mesh import Mesh
from benchlib.scenarios.push import Push
from benchlib.scenarios.scale import Scale
from benchlib.scenarios.tcp import Tcp
from benchlib.scenarios.tls import Tls, TlsBulk

SCENARIOS = [Tcp, Http1, Http2, Mesh, Tls, Idle, Scale, AccessLog, GrpcStream, TlsBulk, Push, GrpcBulk]
