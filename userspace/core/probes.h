#pragma once

#include <cstdint>
#include <string_view>

#include "core/address.h"

#if __has_include(<sys/sdt.h>)
// Immediates or registers: clang would otherwise store every argument to the stack, traced or not.
#define STAP_SDT_ARG_CONSTRAINT nr
#include <sys/sdt.h>
#define SLUICE_PROBE(name, n, ...) STAP_PROBE##n(sluice, name, __VA_ARGS__)
#else
#define SLUICE_PROBE(name, n, ...) static_cast<void>(0)
#endif

// Static trace points of the data path, provider `sluice`: for bpftrace (tools/bpftrace), perf and SystemTap.
// Untraced, each is one no-op instruction; its arguments are values that are at hand anyway, so none of these
// functions computes or calls anything. `id` is the connection's (%CONNECTION_ID%); addresses are struct
// sockaddr*; strings end in 0.
namespace sluice::probes {

// sluice:accepted(id, fd, sockaddr* local, sockaddr* remote, char* listener): a connection was accepted.
[[gnu::always_inline]] inline void accepted(uint64_t id, int fd, const Address& local, const Address& remote,
                                            const char* listener) {
  SLUICE_PROBE(accepted, 5, id, fd, local.sockaddr_ptr(), remote.sockaddr_ptr(), listener);
}

// sluice:original_dst(id, sockaddr* destination): where the client had wanted to go.
[[gnu::always_inline]] inline void original_dst(uint64_t id, const Address& destination) {
  SLUICE_PROBE(original_dst, 2, id, destination.sockaddr_ptr());
}

// sluice:chain(id, char* listener, char* filter_chain, int found): a filter chain was chosen, or none matches
// (found 0).
[[gnu::always_inline]] inline void chain(uint64_t id, const char* listener, const char* name, bool found) {
  SLUICE_PROBE(chain, 4, id, listener, name, static_cast<int>(found));
}

// sluice:upstream_chosen(id, char* cluster, sockaddr* host, int attempt): connecting begins. The host's
// family is 0 if the cluster has none.
[[gnu::always_inline]] inline void upstream_chosen(uint64_t id, const char* cluster, const Address& host,
                                                   uint32_t attempt) {
  SLUICE_PROBE(upstream_chosen, 4, id, cluster, host.sockaddr_ptr(), attempt);
}

// sluice:upstream_connected(id, char* cluster, sockaddr* host, uint64_t nanoseconds): established; time since
// the first attempt.
[[gnu::always_inline]] inline void upstream_connected(uint64_t id, const char* cluster, const Address& host,
                                                      int64_t nanoseconds) {
  SLUICE_PROBE(upstream_connected, 4, id, cluster, host.sockaddr_ptr(), nanoseconds);
}

// sluice:upstream_failed(id, char* cluster, sockaddr* host, int failure, int attempt): failure is
// ext::Upstream::Failure: 0 no healthy host, 1 circuit breaker open, 2 connect failed, 3 time-out.
[[gnu::always_inline]] inline void upstream_failed(uint64_t id, const char* cluster, const Address& host,
                                                   int failure, uint32_t attempt) {
  SLUICE_PROBE(upstream_failed, 5, id, cluster, host.sockaddr_ptr(), failure, attempt);
}

enum class Side : uint8_t { downstream, upstream };

// sluice:first_bytes(id, int side, uint64_t bytes): the first bytes that came from this side were passed on.
[[gnu::always_inline]] inline void first_bytes(uint64_t id, Side side, uint64_t bytes) {
  SLUICE_PROBE(first_bytes, 3, id, static_cast<int>(side), bytes);
}

// sluice:half_close(id, int side): this side has sent its FIN.
[[gnu::always_inline]] inline void half_close(uint64_t id, Side side) {
  SLUICE_PROBE(half_close, 2, id, static_cast<int>(side));
}

// sluice:closed(id, uint64_t received, uint64_t sent, char* details, uint64_t nanoseconds, int reset): the
// connection is over. Bytes from and to downstream; `details` as in %CONNECTION_TERMINATION_DETAILS%;
// `reset`: 0 none, 1 we reset the client, 2 the client reset us. (bpftrace 0.17 takes six arguments at most.)
[[gnu::always_inline]] inline void closed(uint64_t id, uint64_t received, uint64_t sent, const char* details,
                                          int64_t nanoseconds, int reset) {
  SLUICE_PROBE(closed, 6, id, received, sent, details, nanoseconds, reset);
}

}  // namespace sluice::probes
