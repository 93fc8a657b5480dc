#include "core/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>

namespace sluice::log {
namespace {

constexpr size_t kCount = static_cast<size_t>(Component::count);
constexpr std::array<std::string_view, kCount> kNames = {"main",     "admin",    "config",   "connection",
                                                         "filter",   "io",       "listener", "upstream",
                                                         "redirect", "workload", "dns"};
constexpr const char* kDefaultFormat = "[%Y-%m-%d %T.%e][%t][%l][%n] %v";

struct Loggers {
  std::array<std::shared_ptr<spdlog::logger>, kCount> all;
  Loggers() {
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    for (size_t i = 0; i < kCount; ++i) {
      all[i] = std::make_shared<spdlog::logger>(std::string(kNames[i]), sink);
      all[i]->set_pattern(kDefaultFormat);
      all[i]->set_level(spdlog::level::info);
    }
  }
};

Loggers& loggers() {
  static Loggers l;
  return l;
}

}  // namespace

spdlog::logger& logger(Component c) {
  return *loggers().all[static_cast<size_t>(c)];
}
std::string_view name(Component c) {
  return kNames[static_cast<size_t>(c)];
}

Result<Level> parse_level(std::string_view text) {
  if (text == "trace") return spdlog::level::trace;
  if (text == "debug") return spdlog::level::debug;
  if (text == "info") return spdlog::level::info;
  if (text == "warning" || text == "warn") return spdlog::level::warn;
  if (text == "error") return spdlog::level::err;
  if (text == "critical") return spdlog::level::critical;
  if (text == "off") return spdlog::level::off;
  return Error{"unknown log level '" + std::string(text) +
               "': expected one of trace, debug, info, warning, error, critical, off"};
}

void set_level(Component c, Level level) {
  logger(c).set_level(level);
}

void set_all(Level level) {
  for (auto& l : loggers().all) l->set_level(level);
}

Result<Component> parse_component(std::string_view wanted) {
  std::string all;
  for (size_t i = 0; i < kCount; ++i) {
    if (kNames[i] == wanted) return static_cast<Component>(i);
    all += (i ? ", " : "") + std::string(kNames[i]);
  }
  return Error{"unknown log component '" + std::string(wanted) + "': expected one of " + all};
}

Status set_levels(std::string_view list) {
  while (!list.empty()) {
    std::string_view entry = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), entry.size() + 1));
    size_t colon = entry.find(':');
    if (colon == entry.npos)
      return Error{"--component-log-level: '" + std::string(entry) + "' is not COMPONENT:LEVEL"};
    auto component = parse_component(entry.substr(0, colon));
    if (!component) return std::move(component).error().prefixed("--component-log-level");
    auto level = parse_level(entry.substr(colon + 1));
    if (!level) return std::move(level).error().prefixed("--component-log-level");
    set_level(*component, *level);
  }
  return {};
}

Status init(Level level, const std::string& path, const std::string& format) {
  spdlog::sink_ptr sink;
  if (!path.empty()) {
    try {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
    } catch (const spdlog::spdlog_ex& e) {
      return Error{"--log-path " + path + ": " + e.what()};
    }
  }
  for (auto& l : loggers().all) {
    if (sink) l->sinks() = {sink};
    l->set_pattern(format.empty() ? kDefaultFormat : format);
    l->set_level(level);
    l->flush_on(spdlog::level::info);
  }
  return {};
}

}  // namespace sluice::log
