#include "redirect/rules.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>

#include "sluice/abi/redirect.h"

namespace sluice::redirect {
namespace {

Status put(int map, const void* key, uint8_t action, const std::string& what) {
  if (::bpf_map_update_elem(map, key, &action, BPF_ANY) == 0) return {};
  int err = errno;
  if (err == E2BIG || err == ENOSPC) return errno_error(err, what + ": the rule map of this node is full");
  return errno_error(err, what);
}

Status put_ports(const Maps& maps, uint32_t generation, const std::vector<uint16_t>& ports, uint8_t direction,
                 uint8_t action) {
  for (uint16_t port : ports) {
    sluice_port_key key{.generation = generation, .port = port, .direction = direction, .pad = 0};
    SLUICE_TRY(put(maps[MapId::ports], &key, action, "port rule " + std::to_string(port)));
  }
  return {};
}

Status put_cidrs(const Maps& maps, uint32_t generation, const std::vector<Cidr>& cidrs, uint32_t scope,
                 uint8_t action) {
  for (const Cidr& cidr : cidrs) {
    sluice_cidr_key key{};
    key.generation = generation;
    key.scope = scope;
    key.prefix_len = SLUICE_CIDR_BASE_BITS + cidr.prefix_len();
    const auto& bytes = cidr.address().bytes();
    if (cidr.address().is_v4()) {
      key.prefix_len += 96;
      key.addr[10] = key.addr[11] = 0xff;
      std::memcpy(key.addr + 12, bytes.data(), 4);
    } else {
      std::memcpy(key.addr, bytes.data(), 16);
      bool mapped = cidr.address().unmapped().is_v4() && cidr.prefix_len() >= 96;
      if (!mapped) key.scope |= SLUICE_SCOPE_V6;
    }
    SLUICE_TRY(put(maps[MapId::cidrs], &key, action, "CIDR rule " + cidr.to_string()));
  }
  return {};
}

template <typename Key>
void erase_keys(int map, uint32_t generation) {
  std::vector<Key> doomed;
  Key key{}, next{};
  const Key* at = nullptr;
  while (::bpf_map_get_next_key(map, at, &next) == 0) {
    if (next.generation == generation) doomed.push_back(next);
    key = next;
    at = &key;
  }
  for (const Key& k : doomed) ::bpf_map_delete_elem(map, &k);
}

}  // namespace

uint32_t rule_flags(const WorkloadSpec& s) {
  uint32_t flags = 0;
  if (s.outbound) flags |= SLUICE_WF_OUTBOUND;
  if (s.inbound) flags |= SLUICE_WF_INBOUND;
  if (!s.exclude_outbound_ports.empty() || !s.include_outbound_ports.empty()) flags |= SLUICE_WF_PORTS_OUT;
  if (!s.exclude_inbound_ports.empty() || !s.include_inbound_ports.empty()) flags |= SLUICE_WF_PORTS_IN;
  if (!s.exclude_cidrs.empty() || !s.include_cidrs.empty()) flags |= SLUICE_WF_CIDRS_OUT;
  if (!s.probe_sources.empty()) flags |= SLUICE_WF_PROBES;
  if (!s.exclude_uids.empty()) flags |= SLUICE_WF_UIDS;
  if (!s.include_outbound_ports.empty() || !s.include_cidrs.empty()) flags |= SLUICE_WF_ONLY_LISTED_OUT;
  if (!s.include_inbound_ports.empty()) flags |= SLUICE_WF_ONLY_LISTED_IN;
  return flags;
}

Status write_rules(const Maps& maps, uint32_t generation, const WorkloadSpec& s) {
  // Excludes after includes: a port or prefix on both lists is excluded.
  SLUICE_TRY(put_ports(maps, generation, s.include_outbound_ports, SLUICE_OUTBOUND, SLUICE_RULE_INCLUDE));
  SLUICE_TRY(put_ports(maps, generation, s.exclude_outbound_ports, SLUICE_OUTBOUND, SLUICE_RULE_EXCLUDE));
  SLUICE_TRY(put_ports(maps, generation, s.include_inbound_ports, SLUICE_INBOUND, SLUICE_RULE_INCLUDE));
  SLUICE_TRY(put_ports(maps, generation, s.exclude_inbound_ports, SLUICE_INBOUND, SLUICE_RULE_EXCLUDE));
  SLUICE_TRY(put_cidrs(maps, generation, s.include_cidrs, SLUICE_SCOPE_DESTINATION, SLUICE_RULE_INCLUDE));
  SLUICE_TRY(put_cidrs(maps, generation, s.exclude_cidrs, SLUICE_SCOPE_DESTINATION, SLUICE_RULE_EXCLUDE));
  SLUICE_TRY(put_cidrs(maps, generation, s.probe_sources, SLUICE_SCOPE_PROBE_SOURCE, SLUICE_RULE_EXCLUDE));
  for (uint32_t uid : s.exclude_uids) {
    sluice_uid_key key{.generation = generation, .uid = uid};
    SLUICE_TRY(put(maps[MapId::uids], &key, SLUICE_RULE_EXCLUDE, "uid rule " + std::to_string(uid)));
  }
  return {};
}

void erase_rules(const Maps& maps, uint32_t generation) {
  erase_keys<sluice_port_key>(maps[MapId::ports], generation);
  erase_keys<sluice_cidr_key>(maps[MapId::cidrs], generation);
  erase_keys<sluice_uid_key>(maps[MapId::uids], generation);
}

}  // namespace sluice::redirect
