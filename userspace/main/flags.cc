#include "main/flags.h"

#include <cxxopts.hpp>
#include <iostream>
#include <thread>

namespace sluice {
namespace {

constexpr const char* kAbout =
    "sluiced - Sluice's proxy: runs Envoy v3 configuration on io_uring; with --redirect ebpf it is the "
    "node's\n"
    "transparent proxy for enrolled pods, without iptables.\n";

constexpr const char* kExamples = R"(
Examples
  sluiced -c envoy.yaml                          as Envoy is used: no BPF, no root
  sluiced -c envoy.yaml --mode validate          check a file; starts nothing
  sluiced -c mesh.yaml --redirect ebpf           the node's proxy; then: sluicectl enrol web --netns /run/netns/web
  sluicectl check                                what this host offers and lacks

SIGTERM: /ready turns 503, listening sockets close, connections get --shutdown-grace-s to end; a second one ends at once.
SIGUSR1: access logs are reopened.
)";

Result<Duration> seconds(const cxxopts::ParseResult& r, const char* flag) {
  double v = r[flag].as<double>();
  if (!(v >= 0 && v < 1e9)) return Error{std::string("--") + flag + ": expected seconds, 0 or more"};
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(v));
}

}  // namespace

Result<std::optional<server::Options>> parse_flags(int argc, char** argv) {
  cxxopts::Options o("sluiced", kAbout);
  o.custom_help("-c FILE [options]");
  o.set_width(110);
  o.add_options("Configuration")("c,config-path", "Envoy v3 bootstrap (.yaml, .yml, .json, .pb, .pb_text)",
                                 cxxopts::value<std::string>()->default_value(""),
                                 "FILE")("config-yaml", "bootstrap as inline YAML, merged over the file",
                                         cxxopts::value<std::string>()->default_value(""), "YAML")(
      "mode", "serve, or validate: load the configuration, say what is wrong with it, exit",
      cxxopts::value<std::string>()->default_value("serve"), "MODE")(
      "service-node", "node.id, over the file's", cxxopts::value<std::string>()->default_value(""), "ID")(
      "service-cluster", "node.cluster, over the file's", cxxopts::value<std::string>()->default_value(""),
      "NAME")("service-zone", "node.locality.zone, over the file's",
              cxxopts::value<std::string>()->default_value(""), "ZONE");
  o.add_options("Running")("concurrency", "workers; 0: one for each hardware thread",
                           cxxopts::value<unsigned>()->default_value("0"), "N")(
      "io-backend", "auto, io_uring or epoll; auto takes epoll where io_uring is forbidden, and says so",
      cxxopts::value<std::string>()->default_value("auto"),
      "NAME")("drain-time-s", "over how long connections are drained when a listener goes away",
              cxxopts::value<double>()->default_value("600"), "S")(
      "drain-strategy", "gradual: spread over the drain time; immediate: all connections are told at once",
      cxxopts::value<std::string>()->default_value("gradual"),
      "NAME")("shutdown-grace-s", "how long SIGTERM waits for connections to end",
              cxxopts::value<double>()->default_value("20"),
              "S")("admin-address-path", "write the admin listener's address to this file",
                   cxxopts::value<std::string>()->default_value(""), "FILE")(
      "disable-hot-restart", "for Envoy's command lines: there is no hot restart to disable");
  o.add_options("Running")("spin-us",
                           "how long a worker at most looks for work before it sleeps, where that has proved "
                           "to pay; 0: never. Lower it "
                           "(or 0) where the proxy shares its cores with others and CPU counts more than the "
                           "last microseconds of a "
                           "round trip; raise it to the round trip's time (100 to 200) on cores of its own",
                           cxxopts::value<unsigned>()->default_value("50"), "US");
  o.add_options("Running")("ktls",
                           "whether the kernel writes the TLS records that are sent to clients (TLS 1.3): "
                           "on, off, or auto: where it can "
                           "renew keys and a network device of the node encrypts (ethtool: "
                           "tls-hw-tx-offload), as long as that takes TLS 1.3",
                           cxxopts::value<std::string>()->default_value("auto"), "WHEN");
  o.add_options("Logging")("l,log-level", "trace, debug, info, warning, error, critical, off",
                           cxxopts::value<std::string>()->default_value("info"), "LEVEL")(
      "component-log-level", "levels by component: upstream:debug,connection:trace",
      cxxopts::value<std::string>()->default_value(""),
      "LIST")("log-path", "write the log here instead of standard error",
              cxxopts::value<std::string>()->default_value(""), "FILE")(
      "log-format", "spdlog pattern", cxxopts::value<std::string>()->default_value(""), "PATTERN")(
      "file-flush-interval-msec", "how often access logs are written out (64 KiB at once in between)",
      cxxopts::value<unsigned>()->default_value("1000"), "MS");
  o.add_options("Interception")(
      "redirect", "none, or ebpf: serve enrolled workloads (root, BTF, cgroup2, bpffs: see sluicectl check)",
      cxxopts::value<std::string>()->default_value("none"),
      "HOW")("cgroup", "attach the hooks to this cgroup v2 folder instead of the root",
             cxxopts::value<std::string>()->default_value(""),
             "DIR")("bpffs-root", "where programs, maps and links are pinned",
                    cxxopts::value<std::string>()->default_value("/sys/fs/bpf/sluice"),
                    "DIR")("state-dir", "enrolled workloads are remembered here",
                           cxxopts::value<std::string>()->default_value("/run/sluice"), "DIR")(
      "control-socket",
      "sluicectl's and sluice-cni's socket; default: control.sock in the state folder, with ebpf",
      cxxopts::value<std::string>()->default_value(""), "PATH");
  o.add_options("Help")("h,help", "this text")("version", "version");

  try {
    cxxopts::ParseResult r = o.parse(argc, argv);
    if (r.count("help")) {
      std::cout << o.help() << kExamples;
      return std::optional<server::Options>();
    }
    if (r.count("version")) {
      std::cout << "sluiced " << SLUICE_VERSION << "\n";
      return std::optional<server::Options>();
    }
    if (!r.unmatched().empty())
      return Error{"unexpected argument '" + r.unmatched()[0] + "'; the configuration is given with -c FILE"};

    server::Options s;
    s.config_path = r["config-path"].as<std::string>();
    s.config_yaml = r["config-yaml"].as<std::string>();
    if (s.config_path.empty() && s.config_yaml.empty())
      return Error{"no configuration: give -c FILE or --config-yaml YAML (sluiced --help shows examples)"};
    if (std::string m = r["mode"].as<std::string>(); m == "validate")
      s.validate_only = true;
    else if (m != "serve")
      return Error{"--mode " + m + ": expected serve or validate"};
    s.service_node = r["service-node"].as<std::string>();
    s.service_cluster = r["service-cluster"].as<std::string>();
    s.service_zone = r["service-zone"].as<std::string>();

    s.concurrency = r["concurrency"].as<unsigned>();
    if (s.concurrency == 0) s.concurrency = std::max(1u, std::thread::hardware_concurrency());
    if (s.concurrency > 255) return Error{"--concurrency: at most 255"};
    using Backend = io::LoopOptions::Backend;
    if (std::string b = r["io-backend"].as<std::string>(); b == "io_uring")
      s.loop.backend = Backend::io_uring;
    else if (b == "epoll")
      s.loop.backend = Backend::epoll;
    else if (b != "auto")
      return Error{"--io-backend " + b + ": expected auto, io_uring or epoll"};
    unsigned spin = r["spin-us"].as<unsigned>();
    if (spin > 10'000) return Error{"--spin-us: at most 10000: that would be a core of its own for waiting"};
    s.loop.spin = std::chrono::microseconds(spin);
    if (std::string k = r["ktls"].as<std::string>(); k == "on")
      s.ktls = io::KernelTlsMode::on;
    else if (k == "off")
      s.ktls = io::KernelTlsMode::off;
    else if (k != "auto")
      return Error{"--ktls " + k + ": expected auto, on or off"};
    SLUICE_ASSIGN(s.drain_time, seconds(r, "drain-time-s"));
    const std::string strategy = r["drain-strategy"].as<std::string>();
    if (strategy != "gradual" && strategy != "immediate")
      return Error{"--drain-strategy " + strategy + ": expected gradual or immediate"};
    s.drain_gradually = strategy == "gradual";
    SLUICE_ASSIGN(s.shutdown_grace, seconds(r, "shutdown-grace-s"));
    s.admin_address_path = r["admin-address-path"].as<std::string>();

    s.log_level = r["log-level"].as<std::string>();
    s.component_log_level = r["component-log-level"].as<std::string>();
    s.log_path = r["log-path"].as<std::string>();
    s.log_format = r["log-format"].as<std::string>();
    s.file_flush_interval = std::chrono::milliseconds(r["file-flush-interval-msec"].as<unsigned>());

    if (std::string m = r["redirect"].as<std::string>(); m == "ebpf")
      s.redirect = server::RedirectMode::ebpf;
    else if (m != "none")
      return Error{"--redirect " + m + ": expected none or ebpf"};
    s.cgroup = r["cgroup"].as<std::string>();
    s.bpffs_root = r["bpffs-root"].as<std::string>();
    s.state_dir = r["state-dir"].as<std::string>();
    s.control_socket = r["control-socket"].as<std::string>();
    return std::optional<server::Options>(std::move(s));
  } catch (const cxxopts::exceptions::exception& e) {
    return Error{std::string(e.what()) + " (sluiced --help lists the flags)"};
  }
}

}  // namespace sluice
