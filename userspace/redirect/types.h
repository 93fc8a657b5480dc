#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/result.h"

// What the redirect library says and is told. No libbpf type, no ABI struct: only userspace/redirect/ sees those.
namespace sluice::redirect {

struct Options {
  std::string bpffs_root = "/sys/fs/bpf/sluice";  // pins live in <root>/v<ABI>
  // Where the hooks are attached: a cgroup that holds the pods and sluiced (a destination travels from the pod's socket
  // to sluiced's, and both have to be seen). Empty: the cgroup2 root.
  std::string cgroup_path;
  std::string state_dir = "/run/sluice";  // workloads/*.json, netns/* (bind mounts), lock
  uint32_t proxy_mark = 0x539;  // SO_MARK of the proxy's own sockets
  // SO_MARK of its connections to the application that keep the caller's address (IP_TRANSPARENT; the netns needs a
  // rule that routes this mark to itself, so it cannot be the mark of all). 0: there are none.
  uint32_t transparent_mark = 0x53a;
  uint16_t outbound_port = 15001;  // for workloads that do not say otherwise
  uint16_t inbound_port = 15006;
  unsigned spread = 8;  // IPv4 targets 127.0.0.1 .. 127.0.0.spread (1..250); IPv6: ::1
  bool so_original_dst = true;  // attach the getsockopt hook
  // Make, in every namespace that is enrolled, what connections with `transparent_mark` need: a rule and a route in each
  // family, and net.ipv4.tcp_fwmark_accept=1 (return_path.h). Only where the configuration has original_src: nothing else
  // about a pod is ever changed.
  bool return_path = false;
  uint32_t bridge_entries = 0;  // handshakes at once; 0: SLUICE_BRIDGE_MAX. At least 512
};

enum class FailMode : uint8_t { closed, open };
const char* to_string(FailMode mode);
Result<FailMode> parse_fail_mode(std::string_view text);

// Where a workload's certificate, key and CA come from.
struct SecretSource {
  enum class Kind : uint8_t {
    configured,  // what the configuration names is good for it too
    files,  // a folder with cert-chain.pem, key.pem and root-cert.pem
    sds,  // a Unix socket that has the secrets "default" and "ROOTCA"
    development_ca,  // a folder of `sluicectl ca init`: sluiced issues what it needs
  };
  Kind kind = Kind::configured;
  std::string path;  // absolute
  bool operator==(const SecretSource&) const = default;
};

// A workload as the operator describes it. Rules are tried in this order: the proxy's own sockets, loopback, excluded
// uids, ports, CIDRs pass; included ports, CIDRs are redirected; the rest is redirected if both include lists are empty.
struct WorkloadSpec {
  std::string name;  // 1..200 of [A-Za-z0-9._/-], unique on the node
  std::string netns_path;  // /run/netns/NAME, /proc/PID/ns/net, ...
  std::string identity;  // its SPIFFE ID; "" (and `secrets` configured): none of its own
  SecretSource secrets;
  FailMode fail_mode = FailMode::closed;
  bool outbound = true;
  bool inbound = true;
  uint16_t outbound_port = 0;  // 0: as in Options
  uint16_t inbound_port = 0;
  std::vector<uint16_t> exclude_outbound_ports;
  std::vector<uint16_t> include_outbound_ports;
  std::vector<Cidr> exclude_cidrs;  // destinations
  std::vector<Cidr> include_cidrs;
  std::vector<uint32_t> exclude_uids;  // real user id of the calling task, as the host numbers them
  std::vector<uint16_t> exclude_inbound_ports;
  std::vector<uint16_t> include_inbound_ports;
  std::vector<Cidr> probe_sources;  // kubelet and the like: never taken inbound
};

// One listening socket for each duty, -1 where there is none. Of an SO_REUSEPORT group any member will do: the kernel
// spreads over the group. A dual-stack socket may stand in for both families.
struct Listeners {
  int outbound_v4 = -1;
  int outbound_v6 = -1;
  int inbound_v4 = -1;
  int inbound_v6 = -1;
};

// A workload as the maps have it, joined with its state file.
struct Workload {
  uint32_t id = 0;
  uint64_t netns_cookie = 0;
  uint32_t generation = 0;
  WorkloadSpec spec;  // name is empty when the state file is gone: the maps alone know it by cookie
  std::string netns_handle;  // a path that opens the netns now: the bind mount, or else netns_path
  bool listening_outbound_v4 = false,
       listening_outbound_v6 = false;  // the proxy's sockets, as the kernel has them
  bool listening_inbound_v4 = false, listening_inbound_v6 = false;
  bool inbound_attached = false;  // the sk_lookup link
  bool return_path = false;  // made, says the state file
};

// Where an accepted connection was really going.
struct OriginalDestination {
  Address address;  // v4-mapped destinations are unmapped
  bool v4_mapped = false;  // asked for as ::ffff:a.b.c.d
  uint64_t netns_cookie = 0;
  uint32_t workload_id = 0;
  uint32_t generation = 0;
  uint32_t uid = 0, pid = 0;  // of the task that called connect(), as the host numbers them
  uint64_t created_ns = 0;  // CLOCK_MONOTONIC at connect()
  const char* rule = "";  // counter name of the decision, "outbound.redirected.default"; static storage
};

// One remembered original destination: a socket that holds it, or a handshake under way.
struct Redirect {
  enum class Side : uint8_t {
    client,
    accepted,
    handshake,
    proxy
  };  // proxy: towards the application, transparent
  Side side = Side::client;
  OriginalDestination original;
  Address local, remote;  // of that socket; of the connecting side for a handshake
  Address target;  // where the connect was sent
  std::string tcp_state;  // "ESTABLISHED", ...; empty for a handshake
};
const char* to_string(Redirect::Side side);

struct Counter {
  std::string name;
  uint64_t value = 0;
};

struct CheckItem {
  enum class Outcome : uint8_t { ok, warning, missing };  // missing: interception cannot work
  Outcome outcome = Outcome::ok;
  std::string name;  // "kernel BTF"
  std::string found;  // what is there
  std::string remedy;  // what to do, when not ok
};
const char* to_string(CheckItem::Outcome outcome);

// How our hooks stand among all programs of their cgroup, as the kernel has it now.
struct HookStatus {
  unsigned attached = 0, wanted = 0;  // of our hooks
  bool first =
      false;  // nothing runs before ours on connect4 and connect6: we see the service, not the backend it chose
  std::string
      text;  // "1 of 2 on connect4 (in running order: sluice_connect4, other_lb)"; what is not attached any more

  bool good() const { return first && attached == wanted; }
};

// What uninstall did and what it found afterwards.
struct UninstallReport {
  std::vector<std::string> removed;
  std::vector<std::string> left;  // empty: proven clean
};

}  // namespace sluice::redirect
