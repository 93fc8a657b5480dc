#pragma once

#include <spdlog/spdlog.h>

#include <array>
#include <string_view>

#include "core/result.h"

// Application log: one logger a component, each with its own level (admin `/logging`). Levels and names are Envoy's.
namespace sluice::log {

enum class Component : uint8_t {
  main,
  admin,
  config,
  connection,
  filter,
  io,
  listener,
  upstream,
  redirect,
  workload,
  dns,
  count
};

using Level = spdlog::level::level_enum;

spdlog::logger& logger(Component c);
std::string_view name(Component c);
Result<Level> parse_level(std::string_view text);  // trace debug info warning warn error critical off
void set_level(Component c, Level level);
void set_all(Level level);
Result<Component> parse_component(std::string_view name);
// "upstream:debug,connection:trace"; "" changes nothing.
Status set_levels(std::string_view list);
// Writes to stderr unless a path is given; `format` is spdlog's pattern, Envoy's default when empty.
Status init(Level level, const std::string& path = "", const std::string& format = "");

}  // namespace sluice::log

// SLUICE_LOG(connection, debug, "[C{}] new connection from {}", id, peer)
#define SLUICE_LOG(component, lvl, ...)                                                                 \
  SPDLOG_LOGGER_CALL(&::sluice::log::logger(::sluice::log::Component::component), ::spdlog::level::lvl, \
                     __VA_ARGS__)
