"""Where sluiced and Envoy differ on purpose: case name → (what is compared and differs, why). Anything else that differs fails; so does a
case here that does not differ any more."""

_FORWARDED = ["connection", "log", "responses", "stats", "upstream"]
_STRICT = "RFC 9112 asks for a refusal, which Envoy's parser leaves out: what two parsers read differently is how requests are smuggled"
_EMPTY_BODY = "an empty body that came with its head is known to be empty: the upstream is told so by its length"
_MALFORMED2 = "RFC 9113 sections 5.4.1 and 8.1.1: the stream is reset and the peer told why by GOAWAY before the connection is closed; Envoy only closes it"
_LOGGED_PATH = "the record of a refused request has its path as it came, not half normalized"
_NO_CODING = "an answer without a body has no coding: HEAD's answer here is what the upstream, or the route, said"

DIFFERENCES = {
    # ---- HTTP/1 ----
    **{name: (_FORWARDED, _STRICT) for name in (
        "obs-fold", "two blanks in the request line", "tab in the request line", "blank at the end of the request line", "cr inside a value",
        "two hosts", "two equal hosts", "host with user info", "chunk longer than its size")},
    "http/1.0 with chunked": (["log", "responses", "stats", "upstream"], _STRICT),
    "no version": (["log", "responses"], "a request line without a version is HTTP/0.9, which has no head to answer 426 to: 400"),
    "trailer content-length": (["upstream"], "RFC 9110 section 6.5.1: framing does not belong into trailers"),
    **{name: (["upstream"], _EMPTY_BODY) for name in (
        "length and chunked, allowed", "coding in upper case", "coding with a tab", "h2: post empty")},
    **{name: (["responses"], _NO_CODING) for name in ("answer to HEAD chunked", "redirect of a HEAD")},
    "answer 599": (["responses"], "the reason phrase of a code that has none"),
    "answer head too large": (["log", "responses", "stats"], "a response's head has the limit that the API documents (60 KiB), however it arrives"),
    "expect in http/1.0": (["responses"], "RFC 9110 section 10.1.1: a 100-continue in an HTTP/1.0 request MUST be ignored: its client knows no interim answers"),
    "expect twice": (["responses", "stats", "upstream"], "Expect is a list (RFC 9110 section 10.1.1): 100-continue twice asks for it as once does"),
    "interim answer, then nothing": (["log", "stats"], "an interim answer begins no response: the 503 that the client gets is told and counted as one"),
    "199, then the answer": (["stats"], "an interim answer is counted, whatever its code"),
    "101 that nobody asked for": (["log", "responses", "stats"], "RFC 9110 section 15.2.2: a switch of protocols that nobody asked for is an upstream's fault"),
    "upgrade that is answered with 200": (["log", "responses", "stats"], "what an upstream answers in place of switching reaches the client, as a 403 does in Envoy too"),
    "upgrade by POST": (["upstream"], "a request for an upgrade has no body: nothing says how long it is"),
    # ---- HTTP/2 ----
    **{f"h2: {name}": (["connection", "responses", "stats"], _MALFORMED2) for name in (
        "neither host nor authority", "upper case name", "connection header", "keep-alive header", "proxy-connection header", "transfer-encoding header",
        "upgrade header", "te other than trailers", "no path", "empty path", "path without a slash", "no method", "no scheme", "two methods", "two paths",
        "pseudo-header behind a field", "unknown pseudo-header", "response pseudo-header", "pseudo-header in trailers",
        "authority with a bad character", "length that is no number", "two lengths", "connect with a path", "extended connect not allowed",
        "one of two is malformed")},
    **{f"h2: {name}": (["connection", "stats"], _MALFORMED2) for name in (
        "nul in a value", "newline in a value", "return in a value", "blank in a name", "colon in a name", "empty name")},
    **{f"h2: length that is too {name}": (["log", "stats"], "it is the client that broke the rule, not we who were reset: the record says so")
       for name in ("long", "short")},
    "h2: headers too large": (["log", "stats"], "one counter and one detail for heads over a limit, in fields or in bytes"),
    # ---- manager, routes, router ----
    "buffer: too large": (["connection", "responses", "stats"], "the whole body has come with its head: the connection is good for the next request"),
    "circuit breaker: no requests": (["log"], "the record names the host that was chosen and could not be asked"),
    **{f"escaped slash {path}, REJECT_REQUEST": (["log"], _LOGGED_PATH) for path in ("/a%2Fb", "/a%5cb", "/a%2f?x=%2f")},
    "x-forwarded-proto empty, plain": (["log", "responses", "stats", "upstream"], "an empty x-forwarded-proto says nothing: it is as if there were none"),
    "target /nonforwarding": (["log", "responses", "stats"], "a route that forwards nothing has no cluster to miss: 404"),
    "redirect to nowhere with headers": (["log"], "the record names the cluster that was asked, though what it answered leads nowhere"),
    "tls required": (["stats"], "the redirect is the manager's own: the router has not seen the request"),
}
