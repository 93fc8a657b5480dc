#include "redirect/records.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "inspect.skel.h"
#include "sluice/abi/redirect.h"

namespace sluice::redirect {
namespace {

Address address_from(const uint8_t bytes[16], uint16_t port_be) {
  std::array<uint8_t, 16> a{};
  std::memcpy(a.data(), bytes, 16);
  uint16_t port = static_cast<uint16_t>((port_be >> 8) | (port_be << 8));
  return Address(IpAddress::v6(a).unmapped(), port);
}

bool is_mapped(const uint8_t bytes[16]) {
  static constexpr uint8_t kPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(bytes, kPrefix, sizeof(kPrefix)) == 0;
}

const char* tcp_state_name(uint8_t state) {
  static constexpr const char* kNames[] = {
      "",      "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",   "TIME_WAIT",
      "CLOSE", "CLOSE_WAIT",  "LAST_ACK", "LISTEN",   "CLOSING",   "NEW_SYN_RECV"};
  return state < std::size(kNames) ? kNames[state] : "?";
}

static_assert(std::endian::native == std::endian::little, "address_from swaps port bytes");

}  // namespace

const char* decision_name(uint32_t decision) {
  static constexpr const char* kNames[] = {
#define SLUICE_DECISION_NAME(name, text) text,
      SLUICE_DECISIONS(SLUICE_DECISION_NAME)
#undef SLUICE_DECISION_NAME
  };
  return decision < std::size(kNames) ? kNames[decision] : "unknown";
}

OriginalDestination original_from_record(const sluice_redirect& r) {
  OriginalDestination o;
  o.address = address_from(r.original_addr, r.original_port_be);
  o.v4_mapped = r.family == AF_INET6 && is_mapped(r.original_addr);
  o.netns_cookie = r.netns_cookie;
  o.workload_id = r.workload_id;
  o.generation = r.generation;
  o.uid = r.uid;
  o.pid = r.pid;
  o.created_ns = r.created_ns;
  o.rule = decision_name(r.rule);
  return o;
}

Redirect redirect_from_record(const sluice_redirect& r) {
  Redirect out;
  out.side = r.role == SLUICE_ROLE_ACCEPTED ? Redirect::Side::accepted
             : r.role == SLUICE_ROLE_PROXY  ? Redirect::Side::proxy
                                            : Redirect::Side::client;
  out.original = original_from_record(r);
  if (r.target_port_be) out.target = address_from(r.target_addr, r.target_port_be);
  return out;
}

const char* to_string(Redirect::Side side) {
  switch (side) {
    case Redirect::Side::client:
      return "client";
    case Redirect::Side::accepted:
      return "accepted";
    case Redirect::Side::handshake:
      return "handshake";
    case Redirect::Side::proxy:
      return "proxy";
  }
  return "?";
}

std::vector<Counter> read_counters(const Maps& maps) {
  std::vector<Counter> out;
  int cpus = ::libbpf_num_possible_cpus();
  if (cpus <= 0) return out;
  std::vector<uint64_t> values(static_cast<size_t>(cpus));
  for (uint32_t d = 0; d < SLUICE_DECISION_COUNT; ++d) {
    Counter c{.name = decision_name(d), .value = 0};
    if (::bpf_map_lookup_elem(maps[MapId::counters], &d, values.data()) == 0)
      for (uint64_t v : values) c.value += v;
    out.push_back(std::move(c));
  }
  return out;
}

Result<std::vector<Redirect>> read_redirects(const Maps& maps) {
  std::vector<Redirect> out;

  LibbpfLog log;
  inspect_bpf* skel = inspect_bpf::open();
  if (!skel) return log.error(errno, "opening the inspecting BPF object");
  struct Destroy {
    inspect_bpf* s;
    ~Destroy() { inspect_bpf::destroy(s); }
  } destroy{skel};
  for (size_t i = 0; i < kMapCount; ++i) {
    bpf_map* m = ::bpf_object__find_map_by_name(skel->obj, map_name(static_cast<MapId>(i)));
    if (m) (void)::bpf_map__reuse_fd(m, maps.fds[i].get());
  }
  if (int err = inspect_bpf::load(skel)) return log.error(err, "loading the inspecting BPF program");
  bpf_iter_link_info info{};
  info.map.map_fd = static_cast<uint32_t>(maps[MapId::redirects]);
  bpf_link_create_opts opts{};
  opts.sz = sizeof(opts);
  opts.iter_info = &info;
  opts.iter_info_len = sizeof(info);
  Fd link(::bpf_link_create(::bpf_program__fd(skel->progs.sluice_inspect), 0, BPF_TRACE_ITER, &opts));
  if (!link.valid()) return log.error(errno, "attaching the inspecting BPF program");
  Fd iter(::bpf_iter_create(link.get()));
  if (!iter.valid()) return log.error(errno, "running the inspecting BPF program");

  std::string bytes;
  char buf[16384];
  for (;;) {
    ssize_t n = ::read(iter.get(), buf, sizeof(buf));
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return errno_error(errno, "reading the redirects");
    if (n == 0) break;
    bytes.append(buf, static_cast<size_t>(n));
  }
  for (size_t at = 0; at + sizeof(sluice_redirect_row) <= bytes.size(); at += sizeof(sluice_redirect_row)) {
    sluice_redirect_row row;
    std::memcpy(&row, bytes.data() + at, sizeof(row));
    Redirect r = redirect_from_record(row.redirect);
    r.local = address_from(row.local_addr, row.local_port_be);
    r.remote = address_from(row.remote_addr, row.remote_port_be);
    r.tcp_state = tcp_state_name(row.tcp_state);
    out.push_back(std::move(r));
  }

  sluice_tuple key{}, next{};
  const sluice_tuple* at = nullptr;
  while (::bpf_map_get_next_key(maps[MapId::bridge], at, &next) == 0) {
    sluice_redirect record{};
    if (::bpf_map_lookup_elem(maps[MapId::bridge], &next, &record) == 0) {
      Redirect r = redirect_from_record(record);
      r.side = Redirect::Side::handshake;
      r.local = address_from(next.client_addr, next.client_port_be);
      r.remote = address_from(next.server_addr, next.server_port_be);
      out.push_back(std::move(r));
    }
    key = next;
    at = &key;
  }
  return out;
}

}  // namespace sluice::redirect
