#include "server/admin/handlers.h"

#include <malloc.h>
#include <unistd.h>

#include <fstream>
#include <optional>

namespace sluice::admin {
namespace {

Response ok() {
  return Response::text(200, "OK\n");
}

constexpr size_t kComponents = static_cast<size_t>(log::Component::count);

std::string_view level_name(log::Level level) {
  auto name = spdlog::level::to_string_view(level);
  return {name.data(), name.size()};
}

std::string active_loggers() {
  std::string out = "active loggers:\n";
  for (size_t i = 0; i < kComponents; ++i) {
    auto c = static_cast<log::Component>(i);
    out += "  " + std::string(log::name(c)) + ": " + std::string(level_name(log::logger(c).level())) + "\n";
  }
  return out + "\n";
}

Response logging_error(std::string_view what) {
  return Response::text(400,
                        "error: " + std::string(what) +
                            "\n\nusage: /logging?<name>=<level> (change single level)\n"
                            "usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n"
                            "usage: /logging?level=<level> (change all levels)\n"
                            "levels: trace debug info warning error critical off \n" +
                            active_loggers());
}

std::optional<log::Component> component(std::string_view name) {
  for (size_t i = 0; i < kComponents; ++i) {
    auto c = static_cast<log::Component>(i);
    if (log::name(c) == name) return c;
  }
  return std::nullopt;
}

// "upstream:debug,config:info", all or nothing; the text is the error.
std::optional<std::string_view> set_levels(std::string_view list) {
  std::vector<std::pair<log::Component, log::Level>> wanted;
  while (!list.empty()) {
    std::string_view one = list.substr(0, list.find(','));
    list.remove_prefix(std::min(one.size() + 1, list.size()));
    size_t colon = one.find(':');
    if (colon == 0 || colon == one.npos || colon + 1 == one.size())
      return "empty logger name or empty logger level";
    auto level = log::parse_level(one.substr(colon + 1));
    if (!level.ok()) return "unknown logger level";
    auto c = component(one.substr(0, colon));
    if (!c) return "unknown logger name";
    wanted.emplace_back(*c, *level);
  }
  for (auto& [c, level] : wanted) log::set_level(c, level);
  return std::nullopt;
}

uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// admin.v3.Memory, from what glibc's allocator says.
Response memory(const Request&) {
  struct mallinfo2 m = mallinfo2();
  auto line = [](const char* name, uint64_t value, const char* end) {
    return " \"" + std::string(name) + "\": \"" + std::to_string(value) + "\"" + end;
  };
  return Response::json("{\n" + line("allocated", m.uordblks + m.hblkhd, ",\n") +
                        line("heap_size", m.arena + m.hblkhd, ",\n") + line("pageheap_unmapped", 0, ",\n") +
                        line("pageheap_free", m.fordblks, ",\n") + line("total_thread_cache", 0, ",\n") +
                        line("total_physical_bytes", resident_bytes(), "\n") + "}\n");
}

}  // namespace

std::string_view to_string(State state) {
  switch (state) {
    case State::live:
      return "LIVE";
    case State::draining:
      return "DRAINING";
    case State::pre_initializing:
      return "PRE_INITIALIZING";
    case State::initializing:
      return "INITIALIZING";
  }
  return "LIVE";
}

Response logging(const Request& request) {
  if (request.query.size() > 1) return logging_error("invalid number of parameters");
  if (request.query.empty()) return Response::text(200, active_loggers());
  const auto& [name, value] = request.query.front();
  if (name == "level") {
    auto level = log::parse_level(value);
    if (!level.ok()) return logging_error("unknown logger level");
    log::set_all(*level);
  } else if (auto error = set_levels(name == "paths" ? value : name + ":" + value)) {
    return logging_error(*error);
  }
  return Response::text(200, active_loggers());
}

State Handlers::state() const {
  State s = view_.state();
  return s == State::live && failed_ ? State::draining : s;
}

void Handlers::add_lifecycle(Router& router) {
  router.add({.path = "/quitquitquit", .help = "exit the server", .mutates = true}, [this](const Request&) {
    view_.quit();
    return ok();
  });
  router.add(
      {.path = "/drain_listeners",
       .help = "drain listeners",
       .mutates = true,
       .params = {{"graceful",
                   "When draining listeners, enter a graceful drain period prior to closing listeners"},
                  {"skip_exit",
                   "When draining listeners, drain the connections but never stop the listeners"},
                  {"inboundonly", "Drains all inbound listeners (traffic_direction INBOUND)"}}},
      [this](const Request& r) {
        if (r.has("skip_exit") && !r.has("graceful"))
          return Response::text(400, "skip_exit requires graceful\n");
        view_.drain_listeners({r.has("inboundonly"), r.has("graceful"), r.has("skip_exit")});
        return ok();
      });
  router.add({.path = "/healthcheck/fail", .help = "cause the server to fail health checks", .mutates = true},
             [this](const Request&) {
               failed_ = true;
               view_.fail_health_checks(true);
               return ok();
             });
  router.add({.path = "/healthcheck/ok", .help = "cause the server to pass health checks", .mutates = true},
             [this](const Request&) {
               failed_ = false;
               view_.fail_health_checks(false);
               return ok();
             });
  router.add({.path = "/reopen_logs", .help = "reopen access logs", .mutates = true}, [this](const Request&) {
    view_.reopen_logs();
    return ok();
  });
  router.add(
      {.path = "/logging",
       .help = "query/change logging levels",
       .mutates = true,
       .params =
           {{"paths", "Change several levels: <name1>:<level1>,<name2>:<level2>"},
            {"level",
             "desired logging level, this will change all loggers's level; One of (, trace, debug, info, "
             "warning, error, critical, off)"}}},
      &logging);
}

void Handlers::add_information(Router& router) {
  router.add({.path = "/ready", .help = "print server state, return 200 if LIVE, otherwise return 503"},
             [this](const Request&) {
               return Response::text(state() == State::live ? 200 : 503,
                                     std::string(to_string(state())) + "\n");
             });
  router.add({.path = "/memory", .help = "print current allocation/heap usage"}, &memory);
  router.add({.path = "/runtime", .help = "print runtime values"},
             [](const Request&) { return Response::json("{\n \"entries\": {},\n \"layers\": []\n}\n"); });
  router.add({.path = "/hot_restart_version", .help = "print the hot restart compatibility version"},
             [](const Request&) { return Response::text(200, "disabled"); });
  router.add({.path = "/contention",
              .help = "dump current mutex contention stats (workers share no mutex: there are none)"},
             [](const Request&) {
               return Response::text(
                   200, "Mutex contention is not traced: workers share nothing to contend for.\n");
             });
  router.add({.path = "/help", .help = "print out list of admin commands"},
             [&router](const Request&) { return Response::text(200, router.help()); });
  router.add({.path = "/", .help = "Admin home page"}, [&router](const Request&) {
    return Response{200, router.index_html(), "text/html; charset=UTF-8"};
  });
}

void Handlers::add_to(Router& router) {
  add_lifecycle(router);
  add_information(router);
  add_dumps(router);
}

}  // namespace sluice::admin
