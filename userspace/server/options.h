#pragma once

#include <cstdint>
#include <string>

#include "config/load.h"
#include "core/time.h"
#include "io/kernel_tls.h"
#include "io/loop.h"

namespace sluice::server {

enum class RedirectMode : uint8_t { none, ebpf };

// What the command line says. Names and defaults are Envoy's where Envoy has the flag.
struct Options {
  std::string config_path;        // -c
  std::string config_yaml;        // merged over the file
  bool validate_only = false;     // --mode validate
  std::string log_level = "info";
  std::string component_log_level;  // "upstream:debug,connection:trace"
  std::string log_path, log_format;
  unsigned concurrency = 0;       // 0: hardware threads
  std::string service_node, service_cluster, service_zone;
  Duration drain_time = std::chrono::seconds(600);
  bool drain_gradually = true;  // --drain-strategy gradual; else immediate
  Duration shutdown_grace = std::chrono::seconds(20);  // ours: SIGTERM waits so long for connections to end
  Duration file_flush_interval = std::chrono::seconds(10);
  std::string admin_address_path;

  RedirectMode redirect = RedirectMode::none;
  std::string bpffs_root = "/sys/fs/bpf/sluice";
  std::string cgroup;  // empty: the cgroup2 root
  std::string state_dir = "/run/sluice";
  std::string control_socket;  // empty: STATE_DIR/control.sock with ebpf, none otherwise; "none": none
  io::LoopOptions loop;
  io::KernelTlsMode ktls = io::KernelTlsMode::automatic;
};

config::LoadOptions load_options(const Options& options);

}  // namespace sluice::server
